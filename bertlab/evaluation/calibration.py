"""Calibration of predicted probabilities: how far off they are, and the temperature that helps."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from bertlab.evaluation.metrics import Array

# A temperature outside of these would be a sign of separable or random data, not of calibration.
TEMPERATURE_BOUNDS = (0.01, 100.0)


# Not scipy.special: its import takes longer than the rest of a prediction with onnxruntime.
def softmax(logits: npt.ArrayLike) -> Array:
    """Return float64 probabilities of the shape of the logits; the last axis sums to 1."""
    scores = np.asarray(logits, dtype=np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: npt.ArrayLike) -> Array:
    """Return float64 probabilities of the shape of the logits, each independent of the others, without overflow."""
    scores = np.asarray(logits, dtype=np.float64)
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)


def reliability_table(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 15) -> list[dict[str, float]]:
    """Return count, mean confidence and accuracy of the top class in each of `bins` bins of equal width.

    A bin is low < confidence <= high; means are nan where its count is 0. Takes (n, classes) probabilities and (n,)
    class ids; multi-label arrays are flattened by the caller, as one binary decision per class. Source: Guo et al., On
    Calibration of Modern Neural Networks (2017).
    """
    forecast, actual = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    confidence, correct = forecast.max(axis=1), forecast.argmax(axis=1) == actual
    edges = np.linspace(0.0, 1.0, bins + 1)
    # The inner edges only, so that a probability of 0.0, or one rounded to above 1, still has a bin.
    index = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights=column, minlength=bins) for column in (confidence, correct)]
    means = [np.divide(total, counts, out=np.full(bins, np.nan), where=counts > 0) for total in sums]
    names = ("low", "high", "count", "confidence", "accuracy")
    columns = [column.tolist() for column in (edges[:-1], edges[1:], counts, *means)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def expected_calibration_error(table: Sequence[Mapping[str, float]]) -> float:
    """Return the mean gap between confidence and accuracy in a reliability table, weighted by count: 0 to 1.

    Source: Naeini et al. (2015), Guo et al. (2017).
    """
    filled = [row for row in table if row["count"]]
    gaps = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in filled)
    return gaps / sum(row["count"] for row in filled)


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the temperature that divides the logits for the least negative log likelihood (Guo et al., 2017).

    Takes (n, classes) logits and (n,) class ids, or multi-label (n, classes) logits and labels of 0 and 1. Fit it
    on a selection split, never on an evaluation split. It stays within `TEMPERATURE_BOUNDS`: an end of them means that
    the split is separable or the logits do not depend on the labels.
    """
    from scipy.optimize import minimize_scalar

    # The loss is convex in 1/T, hence has one valley in log T, where the bounds are equally far from 1.
    scores, actual = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    bounds = tuple(np.log(TEMPERATURE_BOUNDS))
    found = minimize_scalar(lambda log_t: _loss(scores / np.exp(log_t), actual), bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def _loss(logits: Array, labels: Array) -> float:
    if logits.shape == labels.shape:
        # log(1 + exp(-z)) for a positive, log(1 + exp(z)) for a negative.
        return float(np.mean(np.logaddexp(0.0, np.where(labels != 0, -logits, logits))))
    log_total = np.logaddexp.reduce(logits, axis=1)
    return float(np.mean(log_total - logits[np.arange(len(logits)), labels]))
