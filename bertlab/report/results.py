"""results.json: every score with its confidence interval, its baselines, and the results per class and per source."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertlab.console import info, warning
from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation import baselines, calibration, statistics, thresholds
from bertlab.evaluation.evaluate import (
    SplitResult,
    as_scored,
    class_probabilities,
    compute_metrics,
    outputs_of,
    predictions_from_logits,
)
from bertlab.evaluation.metrics import METRICS, Predicted

# Entries of a result's metrics that are no scores.
RUN_VALUES = ("loss", "runtime", "samples_per_second")
# The scores of a source with fewer examples mean too little.
EXAMPLES_PER_SOURCE = 10
# Metrics that are undefined where all examples have one label, as those of a type of negatives have.
OF_SEVERAL_LABELS = (
    *("matthews_correlation", "cohen_kappa", "quadratic_kappa", "pearson", "spearmanr", "r2"),
    *("roc_auc", "roc_auc_macro", "roc_auc_micro", "roc_auc_weighted"),
)
# A temperature or threshold fitted on fewer examples would describe these examples and not the model.
FEWEST_EXAMPLES_TO_FIT = 50
FEWEST_POSITIVE_TO_FIT = 10

# By name: class probabilities or numbers per split, and a sentence on how they were made.
Baselines = Mapping[str, tuple[Mapping[str, np.ndarray], str]]


@dataclass(frozen=True)
class Fitted:
    """The values fitted on the selection split: a temperature, and perhaps a threshold of each class.

    Those of two classes sum to 1. `threshold` says how they were chosen, as results.json has it.
    """

    temperature: float = 1.0
    thresholds: np.ndarray | None = None
    rows: int = 0
    threshold: dict[str, Any] | None = None


def fit(selection: SplitResult | None, schema: LabelSchema, threshold: str | None = None) -> Fitted:
    """Return what can be fitted on the selection split; without one, or with a tiny one, nothing is changed.

    `threshold` is that of --threshold; several labels have thresholds without it, by F1.
    """
    threshold = threshold or ("f1" if schema.kind == MULTI else None)
    if selection is None or selection.labels is None or schema.kind == REGRESSION:
        return Fitted()
    rows = len(selection.labels)
    if rows < FEWEST_EXAMPLES_TO_FIT:
        what = "temperature and thresholds are" if threshold else "the temperature is"
        info(f"{what} not fitted: the selection split has fewer than {FEWEST_EXAMPLES_TO_FIT} examples.")
        return Fitted()
    temperature = calibration.fit_temperature(selection.logits, selection.labels)
    if threshold is None:
        return Fitted(temperature, None, rows)
    # Of the probabilities that are written and to which `predict` applies the thresholds.
    probabilities = class_probabilities(schema, selection.logits, temperature)
    return Fitted(temperature, *_thresholds(threshold, probabilities, selection.labels, schema))


def _thresholds(
    text: str, probabilities: np.ndarray, labels: np.ndarray, schema: LabelSchema
) -> tuple[np.ndarray, int, dict[str, Any]]:
    """Return the threshold of each class, the number of rows, and how they were chosen."""
    names, criterion = schema.class_names, thresholds.parse(text)
    if schema.positive_class is not None:
        names = (schema.positive_class,)
        positive = schema.class_names.index(names[0])
        probabilities, labels = probabilities[:, [positive]], (labels == positive)[:, None]
    found = dict(zip(names, thresholds.fit(probabilities, labels, criterion), strict=True))
    few = [name for name, count in zip(names, labels.sum(axis=0), strict=True) if count < FEWEST_POSITIVE_TO_FIT]
    if few:
        shown = ", ".join(map(repr, few[:3])) + (f" and {len(few) - 3} more" if len(few) > 3 else "")
        info(f"fewer than {FEWEST_POSITIVE_TO_FIT} selection examples are {shown}: such thresholds are uncertain.")
    for name, one in found.items():
        if not one.is_reached:
            warning(f"--threshold {text}: no threshold of {name!r} reaches it; the one that comes nearest is used.")
    values = np.array([one.threshold for one in found.values()])
    if schema.positive_class is not None:
        values = np.full(2, 1 - values[0])
        values[positive] = found[names[0]].threshold
    classes = {name: one._asdict() for name, one in found.items()}
    return (
        values,
        len(labels),
        {"criterion": text, "scored_by": criterion.name, "rows": len(labels), "classes": classes},
    )


def with_fitted(result: SplitResult, schema: LabelSchema, fitted: Fitted, names: Sequence[str]) -> SplitResult:
    """Return a result with the predictions and the scores of the fitted temperature and thresholds."""
    if not fitted.rows:
        return result
    scaled, limits = result.logits / fitted.temperature, fitted.thresholds
    metrics = dict(result.metrics)
    if result.labels is not None:
        metrics |= compute_metrics(schema, tuple(names), scaled, result.labels, thresholds=limits)
    return dataclasses.replace(result, predictions=predictions_from_logits(schema, scaled, limits), metrics=metrics)


def baseline_predictions(
    take_texts: baselines.TakeTexts,
    train_labels: np.ndarray,
    texts: Mapping[str, Sequence[Any]],
    schema: LabelSchema,
) -> dict[str, tuple[dict[str, np.ndarray], str]]:
    """Return, for each baseline, its outputs per split and a sentence on how they were made."""
    name, how = "majority", "always the most frequent training class"
    if schema.kind == MULTI:
        how = "each label that at least half of the training examples have"
    if schema.kind == REGRESSION:
        name, how = "mean", "always the mean of the training labels"
    simple = {split: baselines.constant_baseline(train_labels, len(column), schema) for split, column in texts.items()}
    return {name: (simple, how), "tfidf": baselines.tfidf_baseline(take_texts, train_labels, texts, schema)}


def split_results(
    result: SplitResult,
    schema: LabelSchema,
    metrics: Sequence[str],
    fitted: Fitted,
    baselines: Baselines,
    sources: Sequence[str] | None,
    batch_size: int | None,
) -> dict[str, Any]:
    """Return the entry of one split in results.json."""
    rows = result.labelled()
    results: dict[str, Any] = {"rows": len(rows), "labelled": int(rows.sum())}
    # The metrics of masked language modeling need no labels.
    scored = RUN_VALUES if result.labels is None else (*metrics, *RUN_VALUES)
    other = {name: value for name, value in result.metrics.items() if name not in scored}
    if other:
        results["other"] = other
    if result.labels is None or not rows.any():
        return results
    predictions, labels = result.predictions[rows], result.labels[rows]
    outputs = outputs_of(schema, result.logits[rows], fitted.temperature)
    scored_pair = as_scored(schema, outputs, fitted.thresholds), schema.binary_ids(labels)
    groups = None if result.groups is None else result.groups.numbers[rows]
    intervals = {name: _interval(name, *scored_pair, groups) for name in metrics}
    results["metrics"] = {name: {"value": result.metrics[name], **intervals[name]._asdict()} for name in metrics}
    if result.groups is not None and groups is not None:
        own, alone = intervals[metrics[0]], _interval(metrics[0], *scored_pair, None)
        wider = (own.high - own.low) / (alone.high - alone.low) if alone.high > alone.low else None
        results["groups"] = {"count": len(np.unique(groups)), "shared": result.groups.shared, "wider": wider}
    results["loss"] = result.metrics.get("loss")
    results["baselines"] = {
        name: {"how": how, **_against(as_scored(schema, of_splits[result.name][rows]), *scored_pair, groups, metrics)}
        for name, (of_splits, how) in baselines.items()
    }
    if schema.kind != REGRESSION:
        results["per_class"] = per_class(predictions, labels, schema.class_names)
        results["calibration"] = _calibration(schema, result.logits[rows], labels, fitted)
    if schema.kind == SINGLE:
        results |= _of_class_ids(predictions, labels, schema.size, batch_size)
    if sources is not None:
        results["by_source"] = _by_source(*scored_pair, np.asarray(sources)[rows], metrics)
    return results


def per_class(predictions: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return {class name: {precision, recall, f1, support}} of class ids (n,) or of 0 and 1 (n, classes).

    What is undefined is 0.
    """
    # Not classification_report, whose own rows would replace a class called "accuracy" or "macro avg".
    from sklearn.metrics import precision_recall_fscore_support

    # scikit-learn takes a single column for class ids of 0 and 1.
    ids = [1] if labels.ndim == 2 and labels.shape[1] == 1 else range(len(class_names))
    columns = precision_recall_fscore_support(labels, predictions, labels=ids, zero_division=0)
    rows = np.transpose(columns).tolist()
    return {
        name: {"precision": precision, "recall": recall, "f1": f1, "support": int(support)}
        for name, (precision, recall, f1, support) in zip(class_names, rows, strict=True)
    }


def _interval(metric: str, predicted: Predicted, labels: np.ndarray, groups: np.ndarray | None) -> statistics.Interval:
    return statistics.bootstrap_interval(METRICS[metric], METRICS[metric].read(predicted), labels, groups)


def _against(
    baseline: Predicted, predicted: Predicted, labels: np.ndarray, groups: np.ndarray | None, metrics: Sequence[str]
) -> dict[str, Any]:
    """Return a baseline's scores, and the 95% CI of model − baseline, by the paired bootstrap."""
    results: dict[str, Any] = {"metrics": {}, "difference": {}}
    for name in metrics:
        metric = METRICS[name]
        found = statistics.paired_bootstrap(metric, metric.read(predicted), metric.read(baseline), labels, groups)
        results["metrics"][name] = metric(metric.read(baseline), labels)
        results["difference"][name] = {"low": found.low, "high": found.high}
    return results


def _of_class_ids(predictions: np.ndarray, labels: np.ndarray, classes: int, batch_size: int | None) -> dict[str, Any]:
    """Return the counts of each true (row) and predicted class (column), and the scores of batches in their order."""
    from sklearn.metrics import confusion_matrix

    results: dict[str, Any] = {"confusion": confusion_matrix(labels, predictions, labels=range(classes)).tolist()}
    if batch_size:
        values = statistics.per_batch_mcc(predictions, labels, batch_size)
        mean, sd, *_ = statistics.mean_sd_interval(values)
        results["per_batch"] = {"size": batch_size, "matthews_correlation": values, "mean": mean, "sd": sd}
    return results


def _calibration(schema: LabelSchema, logits: np.ndarray, labels: np.ndarray, fitted: Fitted) -> dict[str, Any]:
    results: dict[str, Any] = {"temperature": fitted.temperature, "fitted_on_rows": fitted.rows}
    temperatures = {"raw": 1.0, "calibrated": fitted.temperature} if fitted.rows else {"raw": 1.0}
    for name, temperature in temperatures.items():
        probabilities = class_probabilities(schema, logits, temperature)
        if schema.kind == MULTI:
            labels = labels.reshape(-1).astype(np.int64)
            probabilities = np.column_stack([1 - probabilities.reshape(-1), probabilities.reshape(-1)])
        table = calibration.reliability_table(probabilities, labels)
        results[name] = {
            "ece": calibration.expected_calibration_error(table),
            "brier": METRICS["brier_score"](probabilities, labels),
            "reliability": table,
        }
    return results


def _by_source(
    predicted: Predicted, labels: np.ndarray, sources: np.ndarray, metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    results = {}
    for name in np.unique(sources).tolist():
        rows = sources == name
        if rows.sum() >= EXAMPLES_PER_SOURCE:
            undefined = OF_SEVERAL_LABELS if len(np.unique(labels[rows], axis=0)) == 1 else ()
            scores = {
                m: None if m in undefined else METRICS[m](METRICS[m].read(predicted.rows(rows)), labels[rows])
                for m in metrics
            }
            results[name] = {"n": int(rows.sum()), **scores}
    return results
