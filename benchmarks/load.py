"""How much memory long input takes: a million rows, 100 MB of lines, a cell of 10 MB, 500,000 rows to train on.

    python benchmarks/load.py                                  # all of it, written to benchmarks/results/load.json
    python benchmarks/load.py --scale 0.01 --output load.json  # a hundredth of the rows, to try the script

Every measurement is a process of its own, with a model so small that the memory is that of the data. Anonymous
memory is counted (Linux's RssAnon, every 20 ms): what a process holds, without the files it has mapped, which the
system takes back when it needs the room. Exit status 1 when a bound is passed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
SAMPLE_SECONDS = 0.02
MB = 1e6
# As many different words as a small vocabulary has, so that TF-IDF features have a realistic size.
WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprst" for second in "aeiou" for third in "bdfgklmnprst"]


@dataclass(frozen=True)
class Load:
    """One measurement: what is run on how many rows of how many words, and how far its memory may grow.

    `bound` is in megabytes, over the same command on a hundredth of the rows, or, in training, over what the process
    holds before it reads anything.
    """

    name: str
    run: str
    rows: int
    words: int
    format: str
    bound: float
    steps: int = 20


LOADS = (
    Load("predict_1_000_000_short_rows", "predict", 1_000_000, 6, "csv", bound=64),
    Load("predict_100_MB_of_lines", "predict", 100_000, 250, "jsonl", bound=64),
    Load("predict_a_text_of_10_MB", "predict_one", 1, 2_500_000, "jsonl", bound=128),
    Load("train_with_a_text_of_10_MB", "train_one", 200, 2_500_000, "jsonl", bound=384),
    # 128 bytes a row for labels, lengths and their order; the text has 164.
    Load("train_on_500_000_rows", "train", 500_000, 40, "csv", bound=64),
    Load("train_2_000_steps", "steps", 2_000, 12, "csv", bound=16, steps=2_000),
)


def main() -> int:
    """Measure, print and write the report; return the exit status."""
    arguments = parse()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure](arguments)))
        return 0
    load = os.getloadavg()[0]
    chosen = [item for item in LOADS if not arguments.only or item.name in arguments.only]
    with tempfile.TemporaryDirectory(dir=arguments.work_dir, prefix="load_") as folder:
        model = small_model(Path(folder))
        measured = {}
        for item in chosen:
            measured[item.name] = measure(item, arguments.scale, model, Path(folder))
            print(json.dumps({item.name: measured[item.name]}), flush=True)
            write_report(arguments, measured, load)
    return 0 if all(told["within_bound"] for told in measured.values()) else 1


def write_report(arguments: argparse.Namespace, measured: dict[str, Any], load: float) -> None:
    """Write what has been measured so far, and on what; with --only the other measurements in the file stay."""
    from bertlab.io import write_json
    from bertlab.report import provenance

    earlier = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.is_file() else {}
    kept = earlier.get("loads", {}) if arguments.only and earlier.get("scale") == arguments.scale else {}
    loads = {**kept, **measured}
    report = {
        "scale": arguments.scale,
        "loads": {item.name: loads[item.name] for item in LOADS if item.name in loads},
        "machine": {**provenance.machine(), "load_before": round(load, 2)},
        "versions": {**provenance.versions(), "pyarrow": version("pyarrow")},
        "code": provenance.commit(),
    }
    write_json(arguments.output, report)


def parse() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the rows and words to measure on")
    parser.add_argument("--only", nargs="+", help="measurements to make: " + ", ".join(item.name for item in LOADS))
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "load.json")
    parser.add_argument("--work_dir", help="where the input goes (by default the system's temporary folder)")
    for hidden in ("measure", "file", "few", "model", "steps"):
        parser.add_argument(f"--{hidden}", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(item: Load, scale: float, model: Path, folder: Path) -> dict[str, Any]:
    """Return what one load takes beside its bound."""
    whole, few = folder / f"whole.{item.format}", folder / f"few.{item.format}"
    one = item.run.endswith("_one")
    words = round(item.words * scale) if one else item.words
    rows = item.rows if one else max(100, round(item.rows * scale))
    write_rows(whole, 1 if one else rows, words, more=item.rows - 1 if one else 0)
    write_rows(few, max(100, rows // 100), 10 if one else item.words)
    size = whole.stat().st_size
    kind = item.run.removesuffix("_one")
    steps = max(50, round(item.steps * scale)) if kind == "steps" else item.steps
    told = run_measurement(kind, whole, few, model, folder, steps)
    for path in (whole, few):
        path.unlink()
    rounded = {name: round(value, 1) for name, value in told.items()}
    return {
        "rows": rows,
        "text_mb": round(size / MB, 1),
        **rounded,
        "bound_mb": item.bound,
        "within_bound": told["growth_mb"] <= item.bound,
    }


def write_rows(path: Path, rows: int, words: int, more: int = 0) -> None:
    """Write rows of `words` random words, then `more` rows of ten, with labels that alternate."""
    dice, vocabulary = np.random.default_rng(0), np.array(WORDS, dtype=object)
    with path.open("w", encoding="utf-8") as stream:
        if path.suffix == ".csv":
            stream.write("text,label\n")
        for row in range(rows + more):
            text = " ".join(vocabulary[dice.integers(len(WORDS), size=words if row < rows else 10)])
            label = ("good", "bad")[row % 2]
            line = f"{text},{label}" if path.suffix == ".csv" else json.dumps({"text": text, "label": label})
            stream.write(line + "\n")


def small_model(folder: Path) -> Path:
    """Write a BERT of 2 layers and hidden size 32 with a classification head, and return its folder."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    model = folder / "model"
    model.mkdir()
    (model / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    BertTokenizer(vocab=str(model / "vocab.txt"), model_max_length=64).save_pretrained(model)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    config.max_position_embeddings = 64
    config.id2label, config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    BertForSequenceClassification(config).save_pretrained(model)
    return model


def run_measurement(kind: str, whole: Path, few: Path, model: Path, folder: Path, steps: int) -> dict[str, Any]:
    """Run this script as a process of its own and return what it measured."""
    command = [sys.executable, __file__, "--measure", kind, "--file", whole, "--few", few, "--model", model]
    cache = {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    words = [str(word) for word in (*command, "--steps", steps)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=folder, env={**os.environ, **cache})
    return json.loads(done.stdout.splitlines()[-1])


def measure_predict(arguments: argparse.Namespace) -> dict[str, float]:
    """Predict a small file, then the whole one, and return how much higher the memory rose for the second."""
    from bertlab.__main__ import main as bertlab

    def predict(path: str) -> None:
        """Predict a file, and throw the predictions away."""
        words = ["predict", arguments.model, "--file", path, "--format", "tsv"]
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            if bertlab(words) != 0:
                raise SystemExit(f"predict failed on {path}")

    # Twice: the first call leaves imports and the allocator's reserves behind.
    predict(arguments.few)
    before, _ = peak_of(lambda: predict(arguments.few))
    peak, seconds = peak_of(lambda: predict(arguments.file))
    return {"few_rows_mb": before, "peak_mb": peak, "growth_mb": peak - before, "seconds": seconds}


def measure_train(arguments: argparse.Namespace) -> dict[str, float]:
    """Train some steps on the file; return memory before it is read, while it trains, and at its highest."""
    from bertlab.training import trainer

    held: dict[str, float] = {}
    train = trainer.EncoderTrainer.train

    def measured(*given: Any, **named: Any) -> Any:
        """Train, and note the memory at its start and its peak."""
        held["at_start_of_training_mb"] = anonymous_mb()
        with sampling() as peak:
            result = train(*given, **named)
        held["while_training_mb"] = peak()
        return result

    train_on(arguments.few, arguments, "few", 2)
    before = anonymous_mb()
    trainer.EncoderTrainer.train = measured  # type: ignore[method-assign]
    peak, seconds = peak_of(lambda: train_on(arguments.file, arguments, "whole", int(arguments.steps)))
    growth = held["while_training_mb"] - before
    return {"before_reading_mb": before, **held, "peak_of_run_mb": peak, "growth_mb": growth, "seconds": seconds}


def measure_steps(arguments: argparse.Namespace) -> dict[str, float]:
    """Train many steps; return the memory after a quarter of them and at their end."""
    from bertlab.training import trainer

    steps = int(arguments.steps)
    held: list[float] = []
    step = trainer.EncoderTrainer.training_step

    def measured(*given: Any, **named: Any) -> Any:
        """Take a training step, and note the memory before it."""
        held.append(anonymous_mb())
        return step(*given, **named)

    trainer.EncoderTrainer.training_step = measured  # type: ignore[method-assign]
    _, seconds = peak_of(lambda: train_on(arguments.file, arguments, "whole", steps))
    quarter, end = max(held[: steps // 4]), max(held[steps // 4 :])
    return {
        "steps": len(held),
        "first_quarter_mb": quarter,
        "rest_mb": end,
        "growth_mb": end - quarter,
        "seconds": seconds,
    }


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "predict": measure_predict,
    "train": measure_train,
    "steps": measure_steps,
}


def train_on(file: str, arguments: argparse.Namespace, name: str, steps: int) -> None:
    """Run run_classification.py on a file for so many steps, quietly."""
    import run_classification

    words = ["--train_file", file, "--validation_file", arguments.few, "--model_name_or_path", arguments.model]
    words += ["--max_steps", str(steps), "--per_device_train_batch_size", "8", "--max_seq_length", "64"]
    words += ["--save_strategy", "no", "--disable_tqdm", "--precision", "fp32", "--use_cpu"]
    words += ["--output_dir", name, "--overwrite_output_dir"]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        if run_classification.main(words) != 0:
            raise SystemExit(f"training failed on {file}")


def peak_of(work: Callable[[], object]) -> tuple[float, float]:
    """Do some work; return the highest anonymous memory meanwhile, in megabytes, and the seconds."""
    started = time.perf_counter()
    with sampling() as peak:
        work()
    return peak(), time.perf_counter() - started


@contextmanager
def sampling() -> Iterator[Callable[[], float]]:
    """Watch this process's anonymous memory; yield a function that returns the highest so far, in megabytes."""
    highest, over = [anonymous_mb()], threading.Event()

    def watch() -> None:
        """Keep the highest memory seen until the block is over."""
        while not over.wait(SAMPLE_SECONDS):
            highest[0] = max(highest[0], anonymous_mb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(highest[0], anonymous_mb())
    finally:
        over.set()
        thread.join()


def anonymous_mb() -> float:
    """Return the anonymous memory of this process in megabytes (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024 / MB


if __name__ == "__main__":
    sys.exit(main())
