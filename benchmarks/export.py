"""How fast, how large and how good an exported model is beside the model it was made from.

    python benchmarks/export.py --run runs/cola --output benchmarks/results/export.json

Calls `python -m bertlab export --quantize int8` on a finished run, into a temporary folder: PyTorch in float32,
PyTorch as `predict` runs it, and ONNX Runtime in float32 and int8 take turns on the same texts. The run must have
labels, and its data must still lie where it was trained on.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bertlab.commands import export  # noqa: E402
from bertlab.io import write_json  # noqa: E402


def main() -> int:
    """Measure, print and write the report; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, help="a finished run with a labelled report split")
    parser.add_argument("--rounds", type=int, default=5, help="how often speed is measured [%(default)s]")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "export.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="export_") as folder:
        output = Path(folder) / "onnx"
        words = [
            options.run,
            "--format",
            "onnx",
            "--quantize",
            "int8",
            "--rounds",
            options.rounds,
            "--output",
            output,
        ]
        status = export.main([str(word) for word in words])
        if status == 0:
            write_json(options.output, json.loads((output / export.REPORT).read_text(encoding="utf-8")))
    return status


if __name__ == "__main__":
    sys.exit(main())
