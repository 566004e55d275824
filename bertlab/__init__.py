"""bertlab: recipes and scripts that fine-tune BERT-family encoders with the Hugging Face Trainer."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent
# The folder that has the scripts: a checkout, or site-packages.
ROOT = _PACKAGE.parent
# The folder that has the recipes (configs/) and the demos' data (data/): a checkout, or a part of the wheel.
SHIPPED = _PACKAGE / "shipped" if (_PACKAGE / "shipped").is_dir() else ROOT
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


def __getattr__(name: str) -> Any:
    """Return `train` or `Predictor`, which import more than a command line that is refused needs."""
    if name in ("train", "Predictor"):
        return getattr(import_module("bertlab.api"), name)
    raise AttributeError(f"module 'bertlab' has no attribute {name!r}")
