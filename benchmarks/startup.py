"""Seconds from a command to what the user waits for: help, a flag's error, a first answer, a first training step.

    python -m benchmarks.startup --data FOLDER

Each is a process of its own. The shares of the first step are those of a run in one more process. Needs what
requirements-onnx.txt names.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.prediction import make_classifier
from bertlab import export, onnx_predictor, torch_predictor

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
    if sys.argv[1:2] == ["--first-step"]:
        print(json.dumps(first_step(Path(sys.argv[2]))))
        return 0
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
    quick = {
        "--help": partial(seconds, python, "run_classification.py", "--help"),
        "a misspelt flag": partial(seconds, python, "run_classification.py", "--lerning_rate", "1", status=2),
    }
    command = [python, "-m", "benchmarks.startup", "--first-step", str(where.data)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rates = {name: [1 / value for value in values] for name, values in answers.items()}
    plain = {name: rates[name] for name in (measure.OURS, PEER)}
    exports = {measure.OURS: rates[EXPORTED], PEER: rates[PEER]}
    found: dict[str, Any] = {
        "first answer": measure.compared(plain, "answers/s", TARGET),
        "first answer, model exported as ONNX": measure.compared(exports, "answers/s", TARGET),
        "first answer, seconds": {name: measure.spread(values) for name, values in answers.items()},
        "seconds": {name: measure.spread(v) for name, v in measure.in_turns(quick, where.rounds).items()},
        "limit, seconds": LIMIT,
        "seconds to the end of the first step, by part": json.loads(done.stdout.splitlines()[-1]),
    }
    measure.write(where, "startup", found)
    return 0


def exported(folder: str) -> str:
    """Return a folder with the model of `folder` as ONNX, as `python -m bertlab export` leaves it."""
    output = Path(folder) / "onnx"
    output.mkdir()
    options = argparse.Namespace(max_seq_length=None, revision="main", token=None, trust_remote_code=False)
    predictor = torch_predictor.load(folder, options)
    export.write_onnx(predictor, output / onnx_predictor.MODEL)
    predictor.tokenizer.save_pretrained(output)
    predictor.model.config.save_pretrained(output)
    return str(output)


def seconds(*command: str, status: int = 0) -> float:
    """Return how long a command takes; it must end with `status`."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != status:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-500:]}")
    return time.perf_counter() - began


def first_step(data: Path) -> dict[str, float]:
    """Return the seconds that imports, and then data, model and one step together, take in a fresh process."""
    began = time.perf_counter()
    from benchmarks import peers

    imported = time.perf_counter()
    one = peers.contender(measure.OURS, data / "glue" / "CoLA", "--max_steps", "1")
    ready = time.perf_counter()
    one.trainer.train()
    ended = time.perf_counter()
    return {"imports": imported - began, "data and model": ready - imported, "first step": ended - ready}


if __name__ == "__main__":
    sys.exit(main())
