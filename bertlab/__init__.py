"""bertlab: recipes and scripts that fine-tune BERT-family encoders with the Hugging Face Trainer."""

import sys
from importlib.util import find_spec
from pathlib import Path

# The folder that has the scripts, the recipes and the records.
ROOT = Path(__file__).resolve().parent.parent
__version__ = "0.1.0"

# Looked at before anything else is imported: the wrong Python, or one without the requirements, is what a newcomer
# types first, and an import would end in a traceback. errors.py names packages that are imported later.
if sys.version_info < (3, 11):  # noqa: UP036
    print("error: bertlab needs Python 3.11 or later; this is %d.%d." % sys.version_info[:2], file=sys.stderr)  # noqa: UP031
    sys.exit(2)
for _package in ("yaml", "filelock"):
    if find_spec(_package) is None:
        from bertlab.errors import not_installed

        print(f"error: {not_installed(_package)}", file=sys.stderr)
        sys.exit(2)
