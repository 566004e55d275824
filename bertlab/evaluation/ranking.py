"""Scores of how probabilities rank examples, over many weighted samples at once: ROC AUC and average precision.

Examples are sorted once; a resample is other weights in the same order.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# The score of rankings, given the weight of the positive and of all entries at each score, from the highest score down:
# (rankings, scores) each. It is nan where there is nothing to rank.
Curve = Callable[[Array, Array], Array]
# 4 million floats are 32 MB: the most that the weights of one chunk of samples take.
CHUNK_ELEMENTS = 4_000_000


def roc_auc(positive: Array, total: Array) -> Array:
    """Return the area under the ROC curve: how often a positive entry is above a negative one, ties counted half."""
    negative = total - positive
    below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1) + negative / 2
    return _divide((positive * below).sum(axis=1), positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(positive: Array, total: Array) -> Array:
    """Return the mean of the precision at each positive entry, without interpolation."""
    hits, chosen = np.cumsum(positive, axis=1), np.cumsum(total, axis=1)
    precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen > 0)
    return _divide((positive * precision).sum(axis=1), positive.sum(axis=1))


# What ranks nothing scores: as chance does, or as other metrics that are undefined.
UNDEFINED: dict[Curve, float] = {roc_auc: 0.5, average_precision: 0.0}


def of_ranking(curve: Curve, average: str) -> Callable[[Array, Array, Array], Array]:
    """Return a metric of probabilities (n, classes), labels, and weights (samples, n): (samples,) scores.

    Without an average it ranks by the probability of class 1 of two, and the labels of all rows together; with one,
    each class against the others, or each row's labels. What cannot be ranked is left out of averages.
    """

    def weighted(probabilities: Array, labels: Array, weights: Array) -> Array:
        truth = one_hot(labels, probabilities)
        if average == "" and labels.ndim == 1:
            probabilities, truth = probabilities[:, 1:2], truth[:, 1:2]
        if average == "samples":
            scores, shares = curve(*_by_score(probabilities, truth))[None], weights
        elif average in ("", "micro"):
            scores, shares = _ranked(curve, probabilities.ravel(), truth.ravel(), weights)[:, None], np.ones((1, 1))
        else:
            columns = zip(probabilities.T, truth.T, strict=True)
            scores = np.stack([_ranked(curve, *column, weights) for column in columns], axis=1)
            shares = weights @ truth if average == "weighted" else np.ones_like(scores)
        shares = shares * ~np.isnan(scores)
        means = _divide((np.nan_to_num(scores) * shares).sum(axis=1), shares.sum(axis=1))
        return np.nan_to_num(means, nan=UNDEFINED[curve])

    return weighted


def one_hot(labels: Array, probabilities: Array) -> Array:
    """Return which classes each row has, in the shape of its probabilities."""
    return np.asarray(labels != 0 if labels.ndim == 2 else labels[:, None] == np.arange(probabilities.shape[1]))


def _ranked(curve: Curve, scores: Array, positive: Array, weights: Array) -> Array:
    """Return the (samples,) scores of one ranking of n entries, or of n rows of as many entries each."""
    order = np.argsort(-scores, kind="stable")
    ties = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # where each distinct score begins
    rows, is_positive = order // (len(order) // weights.shape[1]), positive[order]
    size = max(1, CHUNK_ELEMENTS // len(order))
    found = []
    for start in range(0, len(weights), size):
        total = np.take(weights[start : start + size], rows, axis=1)
        sides = total * is_positive, total
        if len(ties) < len(order):
            sides = np.add.reduceat(sides[0], ties, axis=1), np.add.reduceat(sides[1], ties, axis=1)
        found.append(curve(*sides))
    return np.concatenate(found)


def _by_score(scores: Array, positive: Array) -> tuple[Array, Array]:
    """Return how many positive and how many entries each row (rows, entries) has at each of its scores."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked, is_positive = (np.take_along_axis(side, order, axis=1) for side in (scores, positive))
    place = np.cumsum(np.diff(ranked, axis=1, prepend=ranked[:, :1]) != 0, axis=1)  # equal scores share one
    place += np.arange(len(scores))[:, None] * scores.shape[1]
    sides = is_positive.ravel(), np.ones(scores.size)
    first, second = (np.bincount(place.ravel(), side, scores.size).reshape(scores.shape) for side in sides)
    return first, second


def _divide(numerator: Array, denominator: Array) -> Array:
    return np.asarray(np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0))
