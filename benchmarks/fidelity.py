"""Does our training score as the example scripts do? The same values through a plain Trainer and through our script.

    python -m benchmarks.fidelity --data FOLDER                                # CoLA: reference and ours, ten seeds
    python -m benchmarks.fidelity --data FOLDER --arms random-order float32    # ours with one thing done otherwise
    python -m benchmarks.fidelity --data FOLDER --seeds 1 --arms reference random-order-float32    # the same losses
    python -m benchmarks.fidelity --report                                     # the summary alone

The reference shares nothing with ours but weights and values: it reads the files, tokenizes, trains and evaluates as
`run_glue.py` does, in random order and float32, only padded to the longest row of a batch, or it would take six times
as long. Each finished run is a line of results/fidelity.jsonl at once, and is not made again, so that a measurement
can be stopped and continued with the same command. Arms take turns seed by seed.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from datasets import Dataset, disable_progress_bars
from scipy.stats import t, ttest_1samp
from sklearn.metrics import accuracy_score, matthews_corrcoef
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments, set_seed

import run_classification
from benchmarks import measure
from bertlab.console import info, quiet_transformers, say, table
from bertlab.evaluation import degenerate
from bertlab.io import read_json, write_json
from bertlab.models.loading import resolve
from bertlab.report import provenance
from bertlab.report.run_folder import model_name
from bertlab.training import loss, sampling

RUNS, SUMMARY = "fidelity.jsonl", "fidelity.json"
REFERENCE, OURS = "reference", "ours"
# Evaluations in an epoch.
PARTS = 4
# A run has left the plateau of one class at the first evaluation from which on its Matthews correlation is above this.
PLATEAU = 0.05
# As in Hugging Face's table of GLUE.
MAX_LENGTH = 128
SCORES = {"matthews_correlation": matthews_corrcoef, "accuracy": accuracy_score}
# The largest difference that passes for none, in points.
MARGIN = 1.0
UNDECIDED = "not decided yet"
SAME = "the same run: every logged loss agrees to five digits, the score exactly"
DIFFERENCE = ("minus the reference, points", "95% CI", "verdict")
HEADER = (
    *("training", "runs", "mean", "sd", *DIFFERENCE, "collapsed"),
    *("plateau left in epoch", "padding", "processor seconds"),
)

disable_progress_bars()
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@dataclass(frozen=True)
class Task:
    """A GLUE task: how the reference reads its files, its epochs in Hugging Face's table, and the score compared."""

    folder: str
    texts: tuple[str, ...]
    label: str
    epochs: int
    metric: str
    names: tuple[str, ...] | None = None  # of the columns, where the file has no header
    classes: tuple[str, ...] = ()  # in the order of their ids, where the file has names


TASKS = {
    "cola": Task("CoLA", ("sentence",), "label", 3, "matthews_correlation", ("source", "label", "mark", "sentence")),
    "mrpc": Task("MRPC", ("#1 String", "#2 String"), "Quality", 5, "accuracy"),
    "rte": Task("RTE", ("sentence1", "sentence2"), "label", 3, "accuracy", classes=("entailment", "not_entailment")),
}


@dataclass(frozen=True)
class Arm:
    """One thing done otherwise in our script: flags, or something that holds while it trains."""

    flags: tuple[str, ...] = ()
    during: Callable[[], AbstractContextManager[Any]] = nullcontext


def model_loss(_: Any, outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Return the loss of BERT's own forward: the mean over a batch, of logits as autocast left them."""
    return functional.cross_entropy(outputs.logits, labels)


RANDOM_ORDER, FLOAT32 = ("--train_sampling_strategy", "random"), ("--precision", "fp32")
ARMS = {
    OURS: Arm(),
    "random-order": Arm(RANDOM_ORDER),
    **{
        f"megabatch-{size}": Arm(during=partial(mock.patch.object, sampling, "MEGABATCH_BATCHES", size))
        for size in (4, 10)
    },
    "float32": Arm(FLOAT32),
    # What is left of our script is the reference's training, loss by loss.
    "random-order-float32": Arm(RANDOM_ORDER + FLOAT32),
    "model-loss": Arm(during=partial(mock.patch.object, loss.ExactLoss, "__call__", model_loss)),
}


@dataclass(frozen=True)
class Run:
    """What is trained: all that tells one line of the results from another."""

    task: str
    model: str
    arm: str
    seed: int
    learning_rate: float

    @property
    def values(self) -> dict[str, Any]:
        """Return the training values that both sides take, evaluations included."""
        part = 1 / (TASKS[self.task].epochs * PARTS)
        return {
            "num_train_epochs": TASKS[self.task].epochs,
            "learning_rate": self.learning_rate,
            "warmup_steps": 0.1,
            "per_device_train_batch_size": 32,
            "per_device_eval_batch_size": 64,  # changes no score
            "seed": self.seed,
            "eval_strategy": "steps",
            "eval_steps": part,
            "logging_steps": part,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "include_num_input_tokens_seen": "all",
        }


@dataclass(frozen=True)
class Trained:
    """What a training left: its log, its final scores, and whether it collapsed."""

    log: list[dict[str, Any]]
    scores: dict[str, float]
    collapsed: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Make the runs that are missing, then write and print the summary."""
    given = _options(argv)
    path = given.results / RUNS
    if not given.report:
        for run in _wanted(given):
            if _key(vars(run)) not in {_key(record) for record in read(path)}:
                record = measured(run, given.data)
                _append(path, record)
                info(f"{run.task} {run.arm} seed {run.seed}: {record['score']:.4f}, {record['wall_seconds']:.0f} s")
    records = read(path)
    if not records:
        raise SystemExit(f"{path} has no run yet.")
    summary = report(records)
    write_json(given.results / SUMMARY, summary)
    for title, item in summary["tables"].items():
        say(f"\n{title}\n{table(item['rows'], item['header'])}")
    return 0


def measured(run: Run, data: Path) -> dict[str, Any]:
    """Train, and return the line of the results."""
    task = TASKS[run.task]
    folder = data / "glue" / task.folder
    train = tokenized(task, folder / "train.tsv", run.model)
    with training_time() as seconds:
        trained = reference(run, train, folder) if run.arm == REFERENCE else ours(run, folder)
    tokens = sum(map(len, train["input_ids"])) * task.epochs
    seen = max(entry.get("num_input_tokens_seen", 0) for entry in trained.log)
    curve = [(entry["epoch"], entry["eval_matthews_correlation"]) for entry in _entries(trained.log, "eval_loss")]
    return {
        **vars(run),
        "model": model_name({"model_name_or_path": run.model}),
        "metric": task.metric,
        "score": trained.scores[task.metric],
        "scores": trained.scores,
        "curve": curve,
        "training_loss": [(entry["epoch"], entry["loss"]) for entry in _entries(trained.log, "loss")],
        "plateau_left": plateau_left(curve),
        "collapsed": trained.collapsed,
        "padding": 1 - tokens / seen,
        **seconds,
        "values": {name: value for name, value in run.values.items() if name not in ("seed", "learning_rate")},
        "code": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }


def reference(run: Run, train: Dataset, folder: Path) -> Trained:
    """Train as `run_glue.py` does."""
    task = TASKS[run.task]
    validation = tokenized(task, folder / "dev.tsv", run.model)
    model_folder = resolve(run.model)
    with tempfile.TemporaryDirectory() as output:
        args = TrainingArguments(output_dir=output, use_cpu=not torch.cuda.is_available(), **run.values)
        set_seed(args.seed)
        with quiet_transformers():
            model = AutoModelForSequenceClassification.from_pretrained(model_folder, num_labels=2, dtype=torch.float32)
        trainer = Trainer(
            model=model,
            args=args,
            train_dataset=train,
            eval_dataset=validation,
            compute_metrics=_reference_scores,
            processing_class=AutoTokenizer.from_pretrained(model_folder),
        )
        trainer.train()
        found = trainer.predict(validation)
    labels, counts = np.unique(train["label"], return_counts=True)
    balance = {"labelled": len(train), "balance": dict(zip(labels.tolist(), counts.tolist(), strict=True))}
    log: list[dict[str, Any]] = trainer.state.log_history
    one_class = len(np.unique(found.predictions.argmax(axis=1))) == 1
    scores = {name: found.metrics[f"test_{name}"] for name in SCORES}
    flat = degenerate.is_degenerate({"data": {"train": balance}}, "single_label_classification", log)
    return Trained(log, scores, one_class or bool(flat))


def tokenized(task: Task, path: Path, model: str) -> Dataset:
    """Return a file of GLUE as `run_glue.py` gives it to Trainer."""
    frame = pd.read_csv(
        path,
        sep="\t",
        quoting=3,  # quotes are characters like any other
        names=task.names,
        encoding="utf-8-sig",
        keep_default_na=False,
    )
    labels = frame[task.label].map(task.classes.index) if task.classes else frame[task.label].astype(int)
    tokenizer = AutoTokenizer.from_pretrained(resolve(model))
    texts = [frame[name].tolist() for name in task.texts]
    return Dataset.from_dict({**tokenizer(*texts, truncation=True, max_length=MAX_LENGTH), "label": labels.tolist()})


def _reference_scores(prediction: Any) -> dict[str, float]:
    chosen = prediction.predictions.argmax(axis=1)
    return {name: float(score(prediction.label_ids, chosen)) for name, score in SCORES.items()}


def ours(run: Run, folder: Path) -> Trained:
    """Train with our script, by an arm's flags and what holds during it."""
    arm = ARMS[run.arm]
    with tempfile.TemporaryDirectory() as output:
        settings = {
            **run.values,
            "task": run.task,
            "data_dir": folder,
            "model_name_or_path": run.model,
            "max_seq_length": MAX_LENGTH,
            "output_dir": f"{output}/run",
        }
        argv = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        with arm.during():
            status = run_classification.main([*argv, "--metric_name", *SCORES, *arm.flags])
        if status:
            raise SystemExit(status)
        log = read_json(Path(output, "run", "trainer_state.json"))["log_history"]
        split = read_json(Path(output, "run", "results.json"))["splits"]["validation"]
        record = read_json(Path(output, "run", "run.json"))
        results = read_json(Path(output, "run", "all_results.json"))
    scores = {name: results[f"eval_{name}"] for name in SCORES}
    one_class = degenerate.only_class(split) is not None
    flat = degenerate.is_degenerate(record, "single_label_classification", log)
    return Trained(log, scores, one_class or bool(flat))


@contextmanager
def training_time() -> Iterator[dict[str, float]]:
    """Give the processor and wall seconds of Trainer.train, evaluations included, once the block has ended."""
    seconds: dict[str, float] = {}
    train = Trainer.train

    def timed(self: Trainer, *given: Any, **named: Any) -> Any:
        """Train, and note how long it took."""
        began = time.process_time(), time.perf_counter()
        result = train(self, *given, **named)
        seconds.update(processor_seconds=time.process_time() - began[0], wall_seconds=time.perf_counter() - began[1])
        return result

    with mock.patch.object(Trainer, "train", timed):
        yield seconds


def plateau_left(curve: Sequence[tuple[float, float]]) -> float | None:
    """Return the epoch of the evaluation from which on the score stays above PLATEAU, or None."""
    left = None
    for epoch, score in reversed(curve):
        if score <= PLATEAU:
            break
        left = epoch
    return left


def report(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a document shows: a table for each task and model, and where the runs come from."""

    def title(record: dict[str, Any]) -> str:
        """Return what the runs of one table share."""
        epochs = TASKS[record["task"]].epochs
        metric = record["metric"].replace("_", " ")
        return (
            f"{record['task']}, {record['model']}, {epochs} epochs at {record['learning_rate']:g}: {metric} in points"
        )

    tables = {
        name: {"header": HEADER, "rows": _rows(list(runs))} for name, runs in groupby(sorted(records, key=title), title)
    }
    tables |= _average_tables(records)
    commits = [record["code"]["commit"][:8] for record in records]
    about = {name: records[-1][name] for name in ("machine", "versions", "code")}
    return {"tables": tables, "runs": Counter(commits), **about, "rounds": len({run["seed"] for run in records})}


def _rows(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each arm, the reference first, then ours."""
    runs = {
        arm: {record["seed"]: record for record in records if record["arm"] == arm}
        for arm in (REFERENCE, *ARMS)
        if any(record["arm"] == arm for record in records)
    }
    points = {arm: [100 * run["score"] for run in by_seed.values()] for arm, by_seed in runs.items()}
    return [
        (
            arm,
            str(len(by_seed)),
            f"{statistics.mean(points[arm]):.1f}",
            f"{statistics.stdev(points[arm]):.1f}" if len(by_seed) > 1 else "-",
            *(("", "", "") if arm == REFERENCE else _compared(by_seed, runs.get(REFERENCE, {}))),
            *_training_columns(list(by_seed.values())),
        )
        for arm, by_seed in runs.items()
    ]


def _compared(runs: Mapping[int, dict[str, Any]], reference: Mapping[int, dict[str, Any]]) -> tuple[str, str, str]:
    """Return the mean difference of the runs of one seed each, its interval and what it says."""
    pairs = [(runs[seed], reference[seed]) for seed in sorted(runs.keys() & reference.keys())]
    difference = _difference([100 * (run["score"] - other["score"]) for run, other in pairs])
    return (difference[0], "-", SAME) if pairs and all(_same(run, other) for run, other in pairs) else difference


def _difference(differences: Sequence[float]) -> tuple[str, str, str]:
    """Return the mean of differences in points, its interval and what it says."""
    if not differences:
        return "-", "-", "-"
    mean = f"{statistics.mean(differences):+.1f}"
    if len(differences) < 2:
        return mean, "-", "-"
    low, high = paired_interval(differences)
    verdict = relation(low, high)
    if verdict == UNDECIDED:
        verdict += f": it takes about {seeds_needed(differences)} seeds"
    return mean, f"{low:+.1f} to {high:+.1f}", verdict


def _average_tables(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a table for each model that was trained on several tasks: its accuracy, averaged over them seed by seed.

    Accuracy, as all tasks have it, and CoLA's Matthews correlation differs thrice as much between seeds.
    """
    tables = {}
    for model, learning_rate in sorted({(record["model"], record["learning_rate"]) for record in records}):
        runs = {
            (record["arm"], record["task"], record["seed"]): 100 * record["scores"]["accuracy"]
            for record in records
            if (record["model"], record["learning_rate"]) == (model, learning_rate)
        }
        tasks = sorted({task for _, task, _ in runs})
        differences = {
            arm: [
                statistics.mean(runs[arm, task, seed] - runs[REFERENCE, task, seed] for task in tasks)
                for seed in sorted({seed for _, _, seed in runs})
                if all((side, task, seed) in runs for side in (arm, REFERENCE) for task in tasks)
            ]
            for arm in ARMS
        }
        rows = [(arm, str(len(found)), *_difference(found)) for arm, found in differences.items() if found]
        if len(tasks) > 1 and rows:
            title = f"Average of {', '.join(tasks)}, {model} at {learning_rate:g}: accuracy in points"
            tables[title] = {"header": ("training", "seeds", *DIFFERENCE), "rows": rows}
    return tables


def _same(run: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two runs differ in rounding alone, as runs of one training on different processors do."""
    losses, others = ([loss for _, loss in side["training_loss"]] for side in (run, other))
    return run["scores"] == other["scores"] and bool(np.allclose(losses, others, rtol=1e-5, atol=0))


def seeds_needed(differences: Sequence[float]) -> int:
    """Return the seeds with which the 95% CI of a mean difference of nothing would lie within MARGIN."""
    sd = statistics.stdev(differences)
    return next(seeds for seeds in itertools.count(2) if t.ppf(0.975, seeds - 1) * sd <= MARGIN * math.sqrt(seeds))


def paired_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the 95% CI of a mean difference of pairs by Student's t: the two runs of a seed begin with one head."""
    interval = ttest_1samp(differences, 0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def relation(low: float, high: float) -> str:
    """Return what the interval of a difference in points says of MARGIN."""
    if low >= -MARGIN and high <= MARGIN:
        return f"within ±{MARGIN:g} point"
    if low > 0 or high < 0:
        return "better" if low > 0 else "worse"
    return UNDECIDED


def _training_columns(records: Sequence[dict[str, Any]]) -> tuple[str, str, str, str]:
    """Return how runs of one arm went: collapsed, when they left the plateau, padding, processor seconds."""
    left = sorted(record["plateau_left"] for record in records if record["plateau_left"] is not None)
    never = len(records) - len(left)
    epochs = f"{statistics.median(left):.3g} ({left[0]:.3g} to {left[-1]:.3g})" if left else ""
    return (
        f"{sum(record['collapsed'] for record in records)} of {len(records)}",
        "; ".join(part for part in (epochs, f"never: {never}" if never else "") if part),
        f"{statistics.mean(record['padding'] for record in records):.0%}",
        f"{statistics.median(record['processor_seconds'] for record in records):.0f}",
    )


def read(path: Path) -> list[dict[str, Any]]:
    """Return the runs in a file, none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def _append(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return what makes two runs the same."""
    model = model_name({"model_name_or_path": record["model"]})
    return (record["task"], model, record["arm"], record["seed"], record["learning_rate"])


def _entries(log: Iterable[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [entry for entry in log if name in entry]


def _wanted(given: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs in the order in which they are made: arms take turns within a task and a seed."""
    for seed in range(1, given.seeds + 1):
        for task in given.tasks:
            for arm in given.arms:
                yield Run(task, given.model or measure.WEIGHTS, arm, seed, given.learning_rate)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data", type=Path, default=os.environ.get("BERTLAB_DATA"), help="folder of the downloads")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["cola"], help="GLUE tasks [cola]")
    parser.add_argument("--arms", nargs="+", choices=(REFERENCE, *ARMS), default=[REFERENCE, OURS], help="what trains")
    parser.add_argument("--seeds", type=int, default=10, help="seeds from 1 to this [10]")
    parser.add_argument("--model", help=f"folder or package of an encoder [{measure.WEIGHTS}]")
    parser.add_argument("--learning_rate", type=float, default=1e-4, help="for this model [1e-4]")
    parser.add_argument("--results", type=Path, default=measure.RESULTS, help="folder of the results")
    parser.add_argument("--report", action="store_true", help="make no run")
    given = parser.parse_args(argv)
    if given.data is None and not given.report:
        parser.error("name the folder of the data with --data or BERTLAB_DATA (glue/CoLA, glue/MRPC, glue/RTE)")
    given.data = given.data and Path(given.data)
    return given


if __name__ == "__main__":
    sys.exit(main())
