"""Metric functions in plain numpy, each of which can also score many weighted samples at once.

A metric here is a function of how often each (prediction, label) pair occurs, so it is written once, for weighted
examples: weights of one give the score, the counts of a resample give a bootstrap value. scikit-learn's metrics take
one vector of weights a call, 1,000 calls for a confidence interval.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.data.labels import MULTI, REGRESSION, SINGLE
from bertlab.errors import UserError, did_you_mean

Array = npt.NDArray[Any]
Weighted = Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class MetricFunction:
    """One metric: called with predictions and labels it returns a float.

    `weighted(predictions, labels, weights)` takes weights of shape (samples, n), counts of each example, and
    returns (samples,) scores. `problem_types` are the values of a model's `config.problem_type` that it fits, and
    `two_classes` is set where class 1 is the positive class of two; several labels have the micro average.
    """

    name: str
    weighted: Weighted
    problem_types: tuple[str, ...]
    greater_is_better: bool = True
    two_classes: bool = False

    def __call__(self, predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Return the score of (n,) class ids or values, or of (n, classes) arrays of 0 and 1.

        It is nan where n is 0 or a value is not finite. `check_metrics` refuses data that the metric is not made for.

        Raises:
            ValueError: the shapes differ.
        """
        predicted, actual = np.asarray(predictions), np.asarray(labels)
        if predicted.shape != actual.shape:
            raise ValueError(f"{self.name}: predictions {predicted.shape} and labels {actual.shape} do not match")
        if len(actual) == 0 or not (np.isfinite(predicted).all() and np.isfinite(actual).all()):
            return float("nan")
        return float(self.weighted(predicted, actual, np.ones((1, len(actual))))[0])


class ClassCounts(NamedTuple):
    """How many examples of each class are correct, predicted and actual: (samples, classes) each."""

    correct: Array
    predicted: Array
    actual: Array
    averaged: Array


def check_metrics(names: Iterable[str], problem_type: str, num_labels: int, flag: str = "--metric_name") -> None:
    """Refuse, before anything is trained, a metric that does not fit the task.

    `problem_type` is one of the three values of a transformers `config.problem_type`.

    Raises:
        UserError: a metric is unknown, or is made for other tasks or for two classes only.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(f"{flag}: there is no metric {name!r}.", did_you_mean(name, METRICS))
        metric = METRICS[name]
        if problem_type not in metric.problem_types:
            fitting = [other for other, row in METRICS.items() if problem_type in row.problem_types]
            raise UserError(
                f"{flag} {name} is for {' or '.join(metric.problem_types)}, and this task is {problem_type}.",
                f"Choose from: {', '.join(fitting)}.",
            )
        if metric.two_classes and problem_type == SINGLE and num_labels != 2:
            raise UserError(
                f"Metric {name!r} scores one class of two, and this task has {num_labels} classes.",
                f"Use {name}_macro" + (" or f1_micro." if name == "f1" else "."),
            )


def _class_counts(predictions: Array, labels: Array, weights: Array) -> ClassCounts:
    if labels.ndim == 2:
        predicted, actual = (predictions != 0).astype(float), (labels != 0).astype(float)
        correct = weights @ (predicted * actual)
        return ClassCounts(correct, weights @ predicted, weights @ actual, np.ones(correct.shape, dtype=bool))
    classes, codes = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
    predicted, actual = np.split(codes, 2)
    equal = predicted == actual
    correct = _tally(actual[equal], weights[:, equal], len(classes))
    times_predicted, times_actual = (_tally(ids, weights, len(classes)) for ids in (predicted, actual))
    # As in scikit-learn, a class that is neither predicted nor present does not count in a macro average.
    return ClassCounts(correct, times_predicted, times_actual, (times_predicted + times_actual) > 0)


def _tally(ids: Array, weights: Array, classes: int) -> Array:
    # A loop over samples: one-hot columns would need n x classes floats, gigabytes for 50,000 rows of 1,000 classes.
    return np.stack([np.bincount(ids, weights=row, minlength=classes) for row in weights])


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide, with 0.0 where the denominator is 0 (scikit-learn's `zero_division=0`, without its warning)."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0)


def _f1(correct: Array, predicted: Array, actual: Array) -> Array:
    return _ratio(2 * correct, predicted + actual)


def _precision(correct: Array, predicted: Array, actual: Array) -> Array:
    return _ratio(correct, predicted)


def _recall(correct: Array, predicted: Array, actual: Array) -> Array:
    return _ratio(correct, actual)


def _of_class_1(quotient: Weighted) -> Weighted:
    def weighted(predictions: Array, labels: Array, weights: Array) -> Array:
        if labels.ndim == 2:  # several labels: micro, as in Hugging Face's run_classification.py
            return _micro(quotient)(predictions, labels, weights)
        predicted, actual = predictions == 1, labels == 1
        return quotient(weights @ (predicted & actual), weights @ predicted, weights @ actual)

    return weighted


def _macro(quotient: Weighted) -> Weighted:
    def weighted(predictions: Array, labels: Array, weights: Array) -> Array:
        counts = _class_counts(predictions, labels, weights)
        per_class = quotient(counts.correct, counts.predicted, counts.actual)
        return _ratio((per_class * counts.averaged).sum(axis=1), counts.averaged.sum(axis=1))

    return weighted


def _micro(quotient: Weighted) -> Weighted:
    def weighted(predictions: Array, labels: Array, weights: Array) -> Array:
        counts = _class_counts(predictions, labels, weights)
        return quotient(*(column.sum(axis=1) for column in counts[:3]))

    return weighted


def _weighted_mean(values: Array, weights: Array) -> Array:
    return np.asarray(weights @ values / weights.sum(axis=1))


def _f1_samples(predictions: Array, labels: Array, weights: Array) -> Array:
    predicted, actual = predictions != 0, labels != 0
    per_example = _f1((predicted & actual).sum(axis=1), predicted.sum(axis=1), actual.sum(axis=1))
    return _weighted_mean(per_example, weights)


def _accuracy(predictions: Array, labels: Array, weights: Array) -> Array:
    """Fraction of exact matches; for multi-label all classes must match (subset accuracy)."""
    correct = predictions == labels
    if correct.ndim == 2:
        correct = correct.all(axis=1)
    return _weighted_mean(correct, weights)


def _matthews_correlation(predictions: Array, labels: Array, weights: Array) -> Array:
    """Gorodkin's multi-class form (2004), which for two classes is Matthews' (1975)."""
    counts = _class_counts(predictions, labels, weights)
    total, correct = weights.sum(axis=1), counts.correct.sum(axis=1)
    covariance = correct * total - (counts.predicted * counts.actual).sum(axis=1)
    variances = [total**2 - (side**2).sum(axis=1) for side in (counts.predicted, counts.actual)]
    return _ratio(covariance, np.sqrt(variances[0]) * np.sqrt(variances[1]))


def _mse(predictions: Array, labels: Array, weights: Array) -> Array:
    difference = predictions.astype(float) - labels.astype(float)
    return _weighted_mean(difference**2, weights)


def _pearson(predictions: Array, labels: Array, weights: Array) -> Array:
    x, y = _standardised(predictions), _standardised(labels)
    total = weights.sum(axis=1)
    sums = weights @ np.column_stack([x, y, x * x, y * y, x * y])
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = (sums / total[:, None]).T
    sd_x, sd_y = np.sqrt(_variance(mean_xx, mean_x)), np.sqrt(_variance(mean_yy, mean_y))
    return np.clip(_ratio(mean_xy - mean_x * mean_y, sd_x * sd_y), -1.0, 1.0)


def _standardised(values: Array) -> Array:
    """Shift to mean 0 and scale to a largest size of 1, so that sums of squares neither cancel nor overflow."""
    shifted = values.astype(float) - float(values[0])
    shifted -= shifted.mean()
    largest = np.abs(shifted).max()
    return shifted / largest if largest > 0 else shifted


def _variance(mean_of_squares: Array, mean: Array) -> Array:
    # Rounding leaves a variance of about 1e-16 to a constant resample. All examples together have 1/n or more, since
    # one of them has size 1, so that this bound never affects the score itself.
    variance = mean_of_squares - mean**2
    return np.where(variance > 1e-14, variance, 0.0)


def _spearmanr(predictions: Array, labels: Array, weights: Array) -> Array:
    """Pearson correlation of ranks, ties at their average rank, ranked within each weighted sample."""
    groups = [np.unique(side, return_inverse=True)[1] for side in (predictions, labels)]
    scores = np.empty(len(weights))
    for sample, counts in enumerate(weights):
        x, y = (_centred_ranks(group, counts) for group in groups)
        # einsum and not `@`: BLAS starts threads for every one of these short sums, 10 times slower on busy cores.
        products = [np.einsum("i,i,i->", counts, left, right) for left, right in ((x, y), (x, x), (y, y))]
        scale = np.sqrt(products[1]) * np.sqrt(products[2])
        scores[sample] = products[0] / scale if scale > 0 else 0.0
    return np.clip(scores, -1.0, 1.0)


def _centred_ranks(group: Array, counts: Array) -> Array:
    # The groups are numbered in order of value, so the ranks of a resample are a running sum: no sorting, which
    # for 1,000 resamples of 50,000 rows is the difference between one second and ten.
    sizes = np.bincount(group, weights=counts)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    return np.asarray((ranks - (counts.sum() + 1) / 2)[group])


_CLASSES = (SINGLE, MULTI)
_ROWS = (
    MetricFunction("matthews_correlation", _matthews_correlation, (SINGLE,)),
    MetricFunction("accuracy", _accuracy, _CLASSES),
    MetricFunction("f1", _of_class_1(_f1), _CLASSES, two_classes=True),
    MetricFunction("precision", _of_class_1(_precision), _CLASSES, two_classes=True),
    MetricFunction("recall", _of_class_1(_recall), _CLASSES, two_classes=True),
    MetricFunction("f1_macro", _macro(_f1), _CLASSES),
    MetricFunction("f1_micro", _micro(_f1), _CLASSES),
    MetricFunction("precision_macro", _macro(_precision), _CLASSES),
    MetricFunction("recall_macro", _macro(_recall), _CLASSES),
    MetricFunction("f1_samples", _f1_samples, (MULTI,)),
    MetricFunction("pearson", _pearson, (REGRESSION,)),
    MetricFunction("spearmanr", _spearmanr, (REGRESSION,)),
    MetricFunction("mse", _mse, (REGRESSION,), greater_is_better=False),
)
METRICS: dict[str, MetricFunction] = {row.name: row for row in _ROWS}
GREATER_IS_BETTER: dict[str, bool] = {row.name: row.greater_is_better for row in _ROWS}
GREATER_IS_BETTER |= {"loss": False, "perplexity": False}
