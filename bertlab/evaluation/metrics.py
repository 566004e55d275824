"""Metric functions in plain numpy, each of which can also score many weighted samples at once.

A metric here is a function of how often each (prediction, label) pair occurs, so it is written once, for weighted
examples: weights of one give the score, the counts of a resample give a bootstrap value. scikit-learn's metrics take
one vector of weights a call, 1,000 calls for a confidence interval.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.data.labels import MULTI, REGRESSION, SINGLE
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation import ranking

Array = npt.NDArray[Any]
Weighted = Callable[[Array, Array, Array], Array]
# Of counts: correct, predicted and actual examples of each class, or all of them.
Quotient = Callable[[Array, Array, Array], Array]


class Predicted(NamedTuple):
    """What a model says of n rows: class ids (n,), 0/1 (n, classes) or numbers; and class probabilities (n, classes).

    In regression, where no metric reads probabilities, the numbers stand in their place.
    """

    predictions: Array
    probabilities: Array

    def rows(self, chosen: Array) -> "Predicted":
        """Return some of the rows."""
        return Predicted(self.predictions[chosen], self.probabilities[chosen])


@dataclass(frozen=True)
class MetricFunction:
    """One metric: called with what it reads of a model (`read`) and labels it returns a float.

    `weighted(predictions, labels, weights)` takes weights of shape (samples, n), counts of each example, and
    returns (samples,) scores. `problem_types` are the values of a model's `config.problem_type` that it fits, and
    `two_classes` is set where class 1 is the positive class of two; several labels have the micro average. A metric
    `of_probabilities` takes the probabilities of the classes for predictions. No score is below `least`.
    """

    name: str
    weighted: Weighted
    problem_types: tuple[str, ...]
    greater_is_better: bool = True
    two_classes: bool = False
    of_probabilities: bool = False
    least: float = 0.0

    def read(self, predicted: Predicted) -> Array:
        """Return what the metric is a function of, beside the labels."""
        return predicted.probabilities if self.of_probabilities else predicted.predictions

    def __call__(self, predictions: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        """Return the score of (n,) class ids or values, of (n, classes) arrays of 0 and 1, or of probabilities.

        It is nan where n is 0 or a value is not finite. `check_metrics` refuses data that the metric is not made for.

        Raises:
            ValueError: the shapes differ.
        """
        predicted, actual = np.asarray(predictions), np.asarray(labels)
        shape = predicted.shape[: actual.ndim] if self.of_probabilities else predicted.shape
        if shape != actual.shape:
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


def split_average(name: str) -> tuple[str, str]:
    """Return the metric and the average that a name is of: f1_macro is F1 and macro; "" where there is none."""
    base, _, average = name.rpartition("_")
    return (base, average) if base and average in AVERAGES else (name, "")


def fitting_metrics(problem_type: str, num_labels: int) -> list[str]:
    """Return the names of the metrics that fit a task."""
    of_two = problem_type != SINGLE or num_labels == 2
    return [name for name, row in METRICS.items() if problem_type in row.problem_types and row.two_classes <= of_two]


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
            raise UserError(
                f"{flag} {name} is for {' or '.join(metric.problem_types)}, and this task is {problem_type}.",
                f"Choose from: {', '.join(fitting_metrics(problem_type, num_labels))}.",
            )
        if metric.two_classes and problem_type == SINGLE and num_labels != 2:
            raise UserError(
                f"Metric {name!r} scores one class of two, and this task has {num_labels} classes.",
                f"Use {name}_macro.",
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
    # A loop over classes or samples: one-hot columns would need gigabytes for 50,000 rows of 1,000 classes.
    if classes < len(weights):
        return np.stack([weights[:, ids == label].sum(axis=1) for label in range(classes)], axis=1)
    return np.stack([np.bincount(ids, weights=row, minlength=classes) for row in weights])


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide, with 0.0 where the denominator is 0 (scikit-learn's `zero_division=0`, without its warning)."""
    return np.divide(numerator, denominator, out=np.zeros(np.shape(numerator)), where=denominator > 0)


def _f_beta(beta: float) -> Quotient:
    """Return F-beta, in which recall counts `beta` times as much as precision (van Rijsbergen, 1979)."""

    def quotient(correct: Array, predicted: Array, actual: Array) -> Array:
        return _ratio((1 + beta**2) * correct, predicted + beta**2 * actual)

    return quotient


def _precision(correct: Array, predicted: Array, actual: Array) -> Array:
    return _ratio(correct, predicted)


def _recall(correct: Array, predicted: Array, actual: Array) -> Array:
    return _ratio(correct, actual)


def _of_counts(quotient: Quotient, average: str) -> Weighted:
    """Return a metric of counts; without an average that of class 1 of two, and of several labels as a whole."""

    def weighted(predictions: Array, labels: Array, weights: Array) -> Array:
        if average == "samples":
            predicted, actual = predictions != 0, labels != 0
            sizes = (side.sum(axis=1) for side in (predicted & actual, predicted, actual))
            return _weighted_mean(quotient(*sizes), weights)
        if average == "" and labels.ndim == 1:
            predicted, actual = predictions == 1, labels == 1
            return quotient(weights @ (predicted & actual), weights @ predicted, weights @ actual)
        counts = _class_counts(predictions, labels, weights)
        if average in ("", "micro"):
            return quotient(*(column.sum(axis=1) for column in counts[:3]))
        share = counts.actual if average == "weighted" else counts.averaged
        return _ratio((quotient(*counts[:3]) * share).sum(axis=1), share.sum(axis=1))

    return weighted


def _weighted_mean(values: Array, weights: Array) -> Array:
    return np.asarray(weights @ values / weights.sum(axis=1))


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
    # With weights that are not whole, what rounding leaves of one class alone is no variance.
    first, second = (np.where(variance > 1e-12 * total**2, variance, 0) for variance in variances)
    return _ratio(covariance, np.sqrt(first * second))  # in one root, or rounding keeps a perfect score below 1


def _balanced_accuracy(predictions: Array, labels: Array, weights: Array) -> Array:
    """Mean recall of the classes that occur (scikit-learn's balanced accuracy)."""
    counts = _class_counts(predictions, labels, weights)
    return _ratio(_ratio(counts.correct, counts.actual).sum(axis=1), (counts.actual > 0).sum(axis=1))


def _cohen_kappa(predictions: Array, labels: Array, weights: Array) -> Array:
    """Agreement beyond chance (Cohen, 1960)."""
    counts = _class_counts(predictions, labels, weights)
    total = weights.sum(axis=1)
    by_chance = (counts.predicted * counts.actual).sum(axis=1) / total
    return _ratio(counts.correct.sum(axis=1) - by_chance, total - by_chance)


def _quadratic_kappa(predictions: Array, labels: Array, weights: Array) -> Array:
    """Cohen's kappa with squared distances of class ids (1968), for classes in an order."""
    p, y = predictions.astype(float), labels.astype(float)
    total = weights.sum(axis=1)
    sums = (weights @ np.column_stack([p, y, p * p, y * y, (p - y) ** 2])).T
    by_chance = (sums[2] + sums[3]) * total - 2 * sums[0] * sums[1]
    return np.where(by_chance > 0, 1 - _ratio(sums[4] * total, by_chance), 0.0)


def _log_loss(probabilities: Array, labels: Array, weights: Array) -> Array:
    """Mean negative log likelihood of the labels; with several labels the mean over rows and labels."""
    likelihood = np.where(ranking.one_hot(labels, probabilities), probabilities, 1 - probabilities)
    if labels.ndim == 1:
        likelihood = probabilities[np.arange(len(labels)), labels][:, None]
    smallest = np.finfo(np.float64).eps  # as in scikit-learn: one wrong certainty must not make it infinite
    return _weighted_mean(-np.log(np.clip(likelihood, smallest, 1.0)).mean(axis=1), weights)


def _brier_score(probabilities: Array, labels: Array, weights: Array) -> Array:
    """Mean squared error of probabilities, 0 to 1 for two classes or several labels.

    For more classes it is the sum over them, 0 to 2 (Brier, 1950), as in scikit-learn.
    """
    errors = (probabilities - ranking.one_hot(labels, probabilities)) ** 2
    sums_classes = labels.ndim == 1 and probabilities.shape[1] > 2
    return _weighted_mean(errors.sum(axis=1) if sums_classes else errors.mean(axis=1), weights)


def _mse(predictions: Array, labels: Array, weights: Array) -> Array:
    difference = predictions.astype(float) - labels.astype(float)
    return _weighted_mean(difference**2, weights)


def _rmse(predictions: Array, labels: Array, weights: Array) -> Array:
    return np.sqrt(_mse(predictions, labels, weights))


def _mae(predictions: Array, labels: Array, weights: Array) -> Array:
    return _weighted_mean(np.abs(predictions.astype(float) - labels.astype(float)), weights)


def _r2(predictions: Array, labels: Array, weights: Array) -> Array:
    """Share of the labels' variance that the predictions explain (coefficient of determination)."""
    centred = labels - labels.mean()
    largest = np.abs(centred).max() or 1.0  # so that _variance can tell a constant resample from rounding
    y, error = centred / largest, (predictions - labels) / largest
    mean_y, mean_yy, mean_error = (weights @ np.column_stack([y, y * y, error**2]) / weights.sum(axis=1)[:, None]).T
    variance = _variance(mean_yy, mean_y)
    return np.where(variance > 0, 1 - _ratio(mean_error, variance), 0.0)


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
        scale = np.sqrt(products[1] * products[2])
        scores[sample] = products[0] / scale if scale > 0 else 0.0
    return np.clip(scores, -1.0, 1.0)


def _centred_ranks(group: Array, counts: Array) -> Array:
    # The groups are numbered in order of value, so the ranks of a resample are a running sum: no sorting, which
    # for 1,000 resamples of 50,000 rows is the difference between one second and ten.
    sizes = np.bincount(group, weights=counts)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    return np.asarray((ranks - (counts.sum() + 1) / 2)[group])


_CLASSES = (SINGLE, MULTI)
# How metrics of counts and of rankings are averaged over classes, and for which tasks.
AVERAGES = {"": _CLASSES, "macro": _CLASSES, "micro": _CLASSES, "weighted": _CLASSES, "samples": (MULTI,)}


def _family(name: str, score: Callable[[str], Weighted], **more: Any) -> list[MetricFunction]:
    return [
        MetricFunction(f"{name}_{average}".rstrip("_"), score(average), kinds, two_classes=not average, **more)
        for average, kinds in AVERAGES.items()
    ]


class _Metrics(dict[str, MetricFunction]):
    """The metrics by name; F-beta of any other beta is made when its name asks for it: f2, f0.5_macro."""

    def __missing__(self, name: str) -> MetricFunction:
        found = re.fullmatch(r"(f(\d+(?:\.\d+)?))(?:_[a-z]+)?", name)
        beta = float(found[2]) if found else 0.0
        family = _family(found[1], partial(_of_counts, _f_beta(beta))) if found and beta else []
        return {row.name: row for row in family}[name]

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self[str(name)])
        except KeyError:
            return False


METRICS = _Metrics()
for _row in (
    MetricFunction("matthews_correlation", _matthews_correlation, (SINGLE,), least=-1.0),
    MetricFunction("accuracy", _accuracy, _CLASSES),
    MetricFunction("balanced_accuracy", _balanced_accuracy, (SINGLE,)),
    MetricFunction("cohen_kappa", _cohen_kappa, (SINGLE,), least=-1.0),
    MetricFunction("quadratic_kappa", _quadratic_kappa, (SINGLE,), least=-1.0),
    *_family("f1", partial(_of_counts, _f_beta(1.0))),
    *_family("precision", partial(_of_counts, _precision)),
    *_family("recall", partial(_of_counts, _recall)),
    *_family("roc_auc", partial(ranking.of_ranking, ranking.roc_auc), of_probabilities=True),
    *_family("average_precision", partial(ranking.of_ranking, ranking.average_precision), of_probabilities=True),
    MetricFunction("log_loss", _log_loss, _CLASSES, greater_is_better=False, of_probabilities=True),
    MetricFunction("brier_score", _brier_score, _CLASSES, greater_is_better=False, of_probabilities=True),
    MetricFunction("pearson", _pearson, (REGRESSION,), least=-1.0),
    MetricFunction("spearmanr", _spearmanr, (REGRESSION,), least=-1.0),
    MetricFunction("r2", _r2, (REGRESSION,), least=-math.inf),
    MetricFunction("mse", _mse, (REGRESSION,), greater_is_better=False),
    MetricFunction("rmse", _rmse, (REGRESSION,), greater_is_better=False),
    MetricFunction("mae", _mae, (REGRESSION,), greater_is_better=False),
):
    METRICS[_row.name] = _row
GREATER_IS_BETTER: dict[str, bool] = {name: row.greater_is_better for name, row in METRICS.items()}
GREATER_IS_BETTER |= {"loss": False, "perplexity": False}
