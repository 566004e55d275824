"""results.json: every score with its interval, its baselines, and what lies behind it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION, LabelSchema
from bertlab.evaluation import baselines, calibration, statistics
from bertlab.evaluation.evaluate import SplitResult, class_probabilities, predict
from bertlab.evaluation.metrics import METRICS

# The bag of words may take this long in all; it then says on how many rows it was fitted.
BASELINE_SECONDS = 20.0
# What a result's metrics hold that is no score.
RUN_VALUES = ("loss", "runtime", "samples_per_second")
# A group of rows needs this many to have a score worth printing.
ROWS_PER_GROUP = 10


@dataclass(frozen=True)
class Fitted:
    """What was fitted on the selection split: a temperature for probabilities, thresholds for several labels."""

    temperature: float = 1.0
    thresholds: np.ndarray | None = None
    rows: int = 0


# A temperature or threshold fitted on fewer rows says more about these rows than about the model.
FEWEST_ROWS_TO_FIT = 50


def fit(selection: SplitResult | None, schema: LabelSchema) -> Fitted:
    """Return what can be fitted on the selection split; without one, or with a tiny one, nothing is changed."""
    if selection is None or selection.labels is None or schema.kind == REGRESSION:
        return Fitted()
    if len(selection.labels) < FEWEST_ROWS_TO_FIT:
        return Fitted()
    temperature = calibration.fit_temperature(selection.logits, selection.labels)
    thresholds = None
    if schema.kind == MULTI:
        # Of the probabilities that are written and that `predict` decides by.
        probabilities = class_probabilities(schema, selection.logits, temperature)
        thresholds = calibration.fit_thresholds(probabilities, selection.labels)
    return Fitted(temperature, thresholds, len(selection.logits))


def with_thresholds(result: SplitResult, schema: LabelSchema, fitted: Fitted, names: Sequence[str]) -> SplitResult:
    """Return a multi-label result decided by fitted thresholds; any other result unchanged."""
    if fitted.thresholds is None:
        return result
    predictions = predict(schema, result.logits / fitted.temperature, fitted.thresholds)
    rows = result.labelled()
    scores = dict(result.metrics)
    if result.labels is not None:
        scores.update({name: METRICS[name](predictions[rows], result.labels[rows]) for name in names})
    return dataclasses.replace(result, predictions=predictions, metrics=scores)


def baseline_predictions(
    train_texts: Sequence[Any] | baselines.TakeTexts,
    train_labels: np.ndarray,
    texts: Mapping[str, Sequence[Any]],
    schema: LabelSchema,
) -> dict[str, tuple[dict[str, np.ndarray], str]]:
    """Return, for each baseline, its predictions per split and a sentence on how it was made."""
    rows = {name: len(column) for name, column in texts.items()}
    if schema.kind == REGRESSION:
        constant = {name: baselines.mean_baseline(train_labels, n) for name, n in rows.items()}
        simple = {"mean": (constant, "always the mean of the training labels")}
    else:
        constant = {name: baselines.majority_baseline(train_labels, n) for name, n in rows.items()}
        most = "each label that more than half of the training rows have"
        how = most if schema.kind == MULTI else "always the most frequent training class"
        simple = {"majority": (constant, how)}
    bag = baselines.tfidf_baseline(train_texts, train_labels, texts, problem_type=schema.kind, seconds=BASELINE_SECONDS)
    return {**simple, "bag_of_words": (bag.predictions, bag.note)}


def split_facts(
    result: SplitResult,
    schema: LabelSchema,
    metrics: Sequence[str],
    fitted: Fitted,
    controls: Mapping[str, tuple[Mapping[str, np.ndarray], str]],
    sources: Sequence[str] | None,
    batch_size: int | None,
) -> dict[str, Any]:
    """Return everything results.json says of one split."""
    rows = result.labelled()
    facts: dict[str, Any] = {"rows": len(rows), "labelled": int(rows.sum())}
    # What masked words are judged by needs no label of a row.
    scored = RUN_VALUES if result.labels is None else (*metrics, *RUN_VALUES)
    other = {k: v for k, v in result.metrics.items() if k not in scored}
    if other:
        facts["other"] = other
    if result.labels is None or not rows.any():
        return facts
    said, truth = result.predictions[rows], result.labels[rows]
    facts["metrics"] = {name: _with_interval(name, said, truth) for name in metrics}
    facts["loss"] = result.metrics.get("loss")
    facts["baselines"] = {
        name: {"how": how, **_beside(said, column[result.name][rows], truth, metrics)}
        for name, (column, how) in controls.items()
    }
    if schema.kind != REGRESSION:
        facts["per_class"] = statistics.classification_report(said, truth, schema.class_names)
        facts["calibration"] = _calibration(schema, result.logits[rows], truth, fitted)
    if schema.kind not in (MULTI, REGRESSION):
        facts["confusion"] = confusion(said, truth, schema.size)
        if batch_size:
            facts["per_batch"] = _per_batch(said, truth, batch_size)
    if sources is not None:
        facts["by_source"] = _by_source(
            said, truth, [s for s, keep in zip(sources, rows, strict=True) if keep], metrics
        )
    return facts


def confusion(predictions: np.ndarray, labels: np.ndarray, classes: int) -> list[list[int]]:
    """Return counts (classes, classes): rows are true classes, columns predicted ones."""
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels, predictions), 1)
    return counts.tolist()


def _with_interval(name: str, said: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    interval = statistics.bootstrap_interval(METRICS[name], said, truth)
    return {"value": METRICS[name](said, truth), "low": interval.low, "high": interval.high, "n": interval.n}


def _beside(said: np.ndarray, control: np.ndarray, truth: np.ndarray, metrics: Sequence[str]) -> dict[str, Any]:
    """Return a control's scores, and between what the model's scores less these lie, on the same rows resampled."""
    gaps = {m: statistics.paired_bootstrap(METRICS[m], said, control, truth) for m in metrics}
    return {
        "metrics": {m: METRICS[m](control, truth) for m in metrics},
        "difference": {m: {"low": gap.low, "high": gap.high} for m, gap in gaps.items()},
    }


def _calibration(schema: LabelSchema, logits: np.ndarray, truth: np.ndarray, fitted: Fitted) -> dict[str, Any]:
    facts: dict[str, Any] = {"temperature": fitted.temperature, "fitted_on_rows": fitted.rows}
    for name, temperature in (("raw", 1.0), ("calibrated", fitted.temperature)):
        if name == "calibrated" and not fitted.rows:
            continue
        probabilities = class_probabilities(schema, logits, temperature)
        labels = truth
        if schema.kind == MULTI:
            probabilities, labels = probabilities.reshape(-1), truth.reshape(-1).astype(np.int64)
        facts[name] = {
            "ece": calibration.expected_calibration_error(probabilities, labels),
            "brier": calibration.brier_score(probabilities, labels),
            "reliability": [dataclasses.asdict(row) for row in calibration.reliability_table(probabilities, labels)],
        }
    return facts


def _per_batch(said: np.ndarray, truth: np.ndarray, size: int) -> dict[str, Any]:
    values = statistics.per_batch_mcc(said, truth, size)
    spread = statistics.mean_sd_interval(values)
    return {"size": size, "matthews_correlation": values, "mean": spread.mean, "sd": spread.sd}


def _by_source(
    said: np.ndarray, truth: np.ndarray, sources: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    groups = np.asarray(sources)
    found = {}
    for name in sorted(set(sources)):
        rows = groups == name
        if rows.sum() >= ROWS_PER_GROUP:
            scores = {m: METRICS[m](said[rows], truth[rows]) for m in metrics}
            found[name] = {"n": int(rows.sum()), **scores}
    return found
