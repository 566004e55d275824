"""Seconds from a command to what the user waits for: help, a flag's error, a first answer, a first training step.

    python -m benchmarks.startup --data FOLDER

Each is a process of its own. What the parts of an answer and of a first step take, benchmarks/stages.py tells, in
processes of its own as well. Needs what requirements-onnx.txt names.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.prediction import make_classifier
from bertlab.cli.arguments import ModelArguments
from bertlab.inference import onnx_export, torch_predictor

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = (
    "import sys; from transformers import pipeline; print(pipeline('text-classification', sys.argv[1])('Hello.'))"
)
PEER = "transformers.pipeline"
EXPORTED = "bertlab, model exported as ONNX"
TARGET = {PEER: 2.0}
LIMIT = 2.0


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        make_classifier(Path(folder))
        cases = {
            measure.OURS: partial(seconds, python, "-m", "bertlab", "predict", folder, "--text", "Hello."),
            EXPORTED: partial(seconds, python, "-m", "bertlab", "predict", exported(folder), "--text", "Hello."),
            PEER: partial(seconds, python, "-c", PIPELINE, folder),
        }
        answers = measure.in_turns(cases, where.rounds)
        parts = {
            measure.OURS: stages("our_first_answer", folder, where.rounds),
            PEER: stages("first_answer_of_the_pipeline", folder, where.rounds),
        }
    quick = {
        "--help": partial(seconds, python, "run_classification.py", "--help"),
        "a misspelt flag": partial(seconds, python, "run_classification.py", "--lerning_rate", "1", status=2),
    }
    rates = {name: [1 / value for value in values] for name, values in answers.items()}
    plain = {name: rates[name] for name in (measure.OURS, PEER)}
    exports = {measure.OURS: rates[EXPORTED], PEER: rates[PEER]}
    found: dict[str, Any] = {
        "first answer": measure.compared(plain, "answers/s", TARGET),
        "first answer, model exported as ONNX": measure.compared(exports, "answers/s", TARGET),
        "first answer, seconds": {name: measure.spread(values) for name, values in answers.items()},
        "first answer, seconds by part": parts,
        "seconds": {name: measure.spread(v) for name, v in measure.in_turns(quick, where.rounds).items()},
        "limit, seconds": LIMIT,
        "first step, seconds by part": stages("first_step", str(where.data / "glue" / "CoLA"), where.rounds),
    }
    measure.write(where, "startup", found, rounds=where.rounds)
    return 0


def exported(folder: str) -> str:
    """Return a folder with the model of `folder` as ONNX, as `python -m bertlab export` leaves it."""
    output = Path(folder) / "onnx"
    output.mkdir()
    predictor = torch_predictor.load_torch_predictor(ModelArguments(model_name_or_path=folder))
    onnx_export.export_onnx(predictor, output)
    return str(output)


def seconds(*command: str, status: int = 0) -> float:
    """Return how long a command takes; it must end with `status`."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - began


def stages(what: str, argument: str, rounds: int) -> dict[str, float]:
    """Return the median seconds of each part of what benchmarks/stages.py can do."""
    command = [sys.executable, "-m", "benchmarks.stages", what, argument]
    found = []
    for _ in range(rounds):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return {part: statistics.median(one[part] for one in found) for part in found[0]}


if __name__ == "__main__":
    sys.exit(main())
