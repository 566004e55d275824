"""Folders of finished runs without training: results of random logits, written by the code that writes real ones."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation import metrics
from bertlab.evaluation.evaluate import SplitResult, as_scored, outputs_of, predictions_from_logits
from bertlab.io import write_json
from bertlab.report import misclassified, predictions
from bertlab.report.results import Fitted, split_results

SPACES = {
    "binary": LabelSchema(SINGLE, ("unacceptable", "acceptable"), {}),
    "three": LabelSchema(SINGLE, ("negative", "neutral", "positive"), {}),
    "multi": LabelSchema(MULTI, ("joy", "anger", "fear", "$5 | <b>"), {}),
    "regression": LabelSchema(REGRESSION, (), {}),
}
METRICS = {
    "binary": ("matthews_correlation", "accuracy"),
    "three": ("accuracy", "f1_macro"),
    "multi": ("f1_micro", "accuracy"),
    "regression": ("pearson", "mse"),
}
SCRIPT = '<script>document.title = "owned"</script> & <img src="http://example.com/x.png" onerror="alert(1)">'
LONG = "This review goes on for so long that only its beginning is shown until it is opened. " * 5


def finished_run(
    folder: Path,
    kind: str = "binary",
    *,
    rows: int = 120,
    skill: float = 1.5,
    seed: int = 0,
    labelled: bool = True,
    trained: bool = True,
    texts: Sequence[str] = (SCRIPT, LONG),
    configuration: dict[str, Any] | None = None,
    best_step: int | None = None,
    **run: Any,
) -> Path:
    """Write a finished run of `kind`, one of SPACES, and return its folder.

    It has a validation split of `rows` (labelled or not) and an unlabelled test split of 7. The larger `skill`, the
    more predictions are correct; `seed` is that of the model's noise, the labels are the same in every run. With a
    `best_step` there was a selection split, on which the epoch that ends there was the best.
    """
    schema, names = SPACES[kind], METRICS[kind]
    labels = _random_labels(schema, rows)
    logits = _logits(schema, labels, skill, np.random.default_rng(100 + seed))
    predicted = predictions_from_logits(schema, logits)
    read = as_scored(schema, outputs_of(schema, logits))
    scores = {name: metrics.METRICS[name](metrics.METRICS[name].read(read), labels) for name in names if labelled}
    results = [
        SplitResult("validation", "eval", logits, predicted, labels if labelled else None, {"loss": 0.61, **scores}),
        SplitResult("test", "test", logits[:7], predicted[:7], None, {}),
    ]
    fitted = Fitted(0.8, None, 50) if trained and schema.kind != REGRESSION else Fitted()
    words = [text for text, _ in zip(itertools.cycle([*texts, "A plain row."]), range(rows), strict=False)]
    columns = {
        "idx": range(rows),
        "text": words,
        "length": [9] * rows,
        "full_length": [9 + row for row in range(rows)],
    }
    baselines = {}
    if trained and labelled:
        simple = _simplest(schema, labels)
        baselines = {
            "majority" if schema.kind != REGRESSION else "mean": ({"validation": simple}, "the simplest guess")
        }
    splits = {}
    for result in results:
        entry = split_results(result, schema, names, fitted, baselines, _sources(result), 32)
        splits[result.name] = {"role": "validation" if result.name == "validation" else "test", **entry}
        predictions.write(folder, result, schema, range(len(result.logits)), fitted.temperature)
        if result.labels is not None:
            misclassified.write(folder, result, schema, columns, fitted.temperature)
    entries = log_history(names)
    best = next((entry for entry in entries if entry["step"] == best_step and "eval_loss" in entry), None)
    selection = best and {"rows": 50, "metrics": {name: best[f"eval_{name}"] for name in names}}
    write_json(folder / "results.json", {**_results(schema, names, fitted, splits), "selection": selection})
    write_json(folder / "run.json", {**_run(schema, labels if labelled else None, trained, configuration or {}), **run})
    if trained:
        write_json(folder / "trainer_state.json", {"log_history": entries, "best_global_step": best_step})
    return folder


def log_history(names: Sequence[str], epochs: int = 3, steps: int = 40) -> list[dict[str, Any]]:
    """Return what a Trainer logs in three epochs of 40 steps, with an evaluation after each."""
    entries: list[dict[str, Any]] = []
    for step in range(5, epochs * steps + 1, 5):
        entries.append({"step": step, "epoch": step / steps, "loss": 2 / (1 + step / 30), "learning_rate": 1e-5})
        if step % steps == 0:
            scores = {f"eval_{name}": 0.3 + step / 400 for name in names}
            entries.append({"step": step, "epoch": step / steps, "eval_loss": 0.9, **scores})
    return [*entries, {"step": epochs * steps, "epoch": epochs, "train_loss": 0.8, "train_runtime": 12.0}]


def _random_labels(schema: LabelSchema, rows: int) -> np.ndarray:
    dice = np.random.default_rng(0)
    if schema.kind == REGRESSION:
        return dice.uniform(0, 5, rows)
    if schema.kind == MULTI:
        return (dice.random((rows, schema.size)) < 0.3).astype(np.int64)
    return dice.integers(0, schema.size, rows)


def _logits(schema: LabelSchema, labels: np.ndarray, skill: float, dice: np.random.Generator) -> np.ndarray:
    noise = dice.normal(size=(len(labels), schema.size)).astype(np.float32)
    if schema.kind == REGRESSION:
        return (labels[:, None] * min(1, skill / 2) + noise).astype(np.float32)
    if schema.kind == MULTI:
        return noise + skill * (2 * labels - 1)
    return noise + skill * np.eye(schema.size, dtype=np.float32)[labels]


def _simplest(schema: LabelSchema, labels: np.ndarray) -> np.ndarray:
    if schema.kind == REGRESSION:
        return np.full(len(labels), labels.mean())
    return np.tile(np.eye(schema.size)[0] * 0.4, (len(labels), 1))


def _sources(result: SplitResult) -> list[str]:
    return ["one" if row % 2 else "two" for row in range(len(result.logits))]


def _results(schema: LabelSchema, names: Sequence[str], fitted: Fitted, splits: dict[str, Any]) -> dict[str, Any]:
    return {
        "recipe": "example",
        "problem_type": schema.kind,
        "class_names": schema.class_names,
        "metrics": names,
        "temperature": fitted.temperature,
        "thresholds": None,
        "published": {"split": "validation", "values": {names[0]: 0.99}, "source": "a paper, table 2"},
        "splits": splits,
    }


def _run(
    schema: LabelSchema, labels: np.ndarray | None, trained: bool, configuration: dict[str, Any]
) -> dict[str, Any]:
    rows = 120 if labels is None else len(labels)
    length = {"p50": 9, "p95": 20, "p99": 30, "longest": 40}
    split = {
        "rows": rows,
        "labelled": 0 if labels is None else rows,
        "balance": dict.fromkeys(schema.class_names, 40) if labels is not None else {},
        "token_length": {**length, "histogram": {"edges": [0, 10, 20, 40], "counts": [60, 40, 20]}},
        "truncated_share": 0.125,
        "from": "reviews.csv",
        "fingerprint": "0123456789abcdef",
        "dropped": 0,
    }
    return {
        "command": ["run_classification.py", "--task", "example"],
        "recipe": "example",
        "configuration": {
            "model_name_or_path": "google-bert/bert-base-cased",
            "max_seq_length": 32,
            "learning_rate": 1e-4,
            "num_train_epochs": 3.0,
            "do_train": trained,
            "output_dir": "/home/someone/runs/example",
            **configuration,
        },
        "seed": 42,
        "plan": {
            "global_batch": 8,
            "steps": 120 if trained else 0,
            "warmup_steps": 0,
            "world_size": 1,
            "device": "cpu",
            "precision": "fp32",
            "precision_reason": "CPU",
            "trainable": 100,
            "parameters": 200,
        },
        "data": {**({"train": split} if trained else {}), "validation": split},
        "versions": {"python": "3.11", "transformers": "5"},
        "code": {"commit": "0" * 40, "changed": False},
        "machine": {"system": "Linux-on-host-17", "processor": "some CPU", "cores": 2, "gpus": []},
        "peak_memory_mb": {"host": 900.0},
        "seconds": {"whole_run": 30.0, "training": 12.0 if trained else None},
        "finished": "2025-01-01T00:00:00Z",
    }
