"""Thresholds of probabilities: the best on a selection split by a metric, by a least precision or recall, or by a cost.

Each is that of one decision: of the positive class of two, or of one label of several.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.data.labels import MULTI, SINGLE, LabelSchema
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation.metrics import METRICS, Array, split_average

# The cells of a confusion matrix as four examples, whose weights are their counts.
PREDICTED, ACTUAL = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])
HELP = "Write a metric (f1, balanced_accuracy…), precision=0.95, recall=0.9, or cost=1:5."


class Criterion(NamedTuple):
    """What a threshold is chosen by.

    `name` says what `scores` of counts (cuts, 4) are: of true positives, false positives, false negatives and true
    negatives. `target` is a least value of another metric.
    """

    name: str
    scores: Callable[[Array], Array]
    target: tuple[str, float] | None = None
    greater_is_better: bool = True


class Threshold(NamedTuple):
    """The threshold of one decision, its score on the selection split, and that of one half.

    It is not `is_reached` where no threshold has the least precision or recall: then it is the one that comes nearest.
    """

    threshold: float
    score: float
    score_at_half: float
    is_reached: bool = True


def parse(text: str) -> Criterion:
    """Return the criterion of --threshold: a metric, precision=P or recall=R, or cost=FP:FN.

    With a least precision the recall is as high as it can be, and the other way round. A cost is the price of a false
    positive and that of a false negative; its score is the mean over examples.

    Raises:
        UserError: it is none of these.
    """
    kind, _, value = text.partition("=")
    target = re.fullmatch(r"0?\.\d+|1(?:\.0*)?", value)
    if kind in ("precision", "recall") and target:
        other = "recall" if kind == "precision" else "precision"
        return Criterion(f"{other} at {kind} {value}", _metric(other), (kind, float(value)))
    prices = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", value)
    if kind == "cost" and prices and float(prices[1]) + float(prices[2]) > 0:
        price = np.array([0.0, float(prices[1]), float(prices[2]), 0.0])
        return Criterion(f"mean cost {value}", lambda n: n @ price / n.sum(axis=1), greater_is_better=False)
    if value or kind == "cost":
        raise UserError(f"--threshold {text}: not understood.", HELP)
    if kind in ("precision", "recall"):
        raise UserError(
            f"--threshold {text}: it is best where all, or few, are predicted.", f"Name what to reach: {kind}=0.95."
        )
    known = [name for name in METRICS if _is_compromise(name)]
    if text not in METRICS or not _is_compromise(text):
        near = did_you_mean(text, known)
        raise UserError(f"--threshold {text}: no metric of decisions has this name.", f"{near} {HELP}")
    return Criterion(text, _metric(text))


def _is_compromise(name: str) -> bool:
    """Return True for a metric of decisions that does not become best where all or none are predicted."""
    row, (base, _) = METRICS[name], split_average(name)
    return SINGLE in row.problem_types and not row.of_probabilities and base not in ("precision", "recall")


def check(text: str | None, schema: LabelSchema) -> None:
    """Refuse, before anything is trained, a --threshold that is wrong or that the task has no use for.

    Raises:
        UserError: it is.
    """
    if text is None:
        return
    parse(text)
    if schema.kind != MULTI and schema.positive_class is None:
        kind = f"{schema.size} classes" if schema.kind == SINGLE else schema.kind
        raise UserError(f"--threshold is for two classes or several labels, not for {kind}.", "Leave it out.")


def fit(probabilities: npt.ArrayLike, labels: npt.ArrayLike, criterion: Criterion) -> list[Threshold]:
    """Return the best threshold of `probability >= threshold` for each decision.

    Takes (n, decisions) probabilities and labels of 0 and 1; use a selection split, never an evaluation split. A
    threshold is midway between two neighbouring probabilities; of equally good ones the nearest to 0.5 is taken, and a
    decision without a positive example keeps 0.5.
    """
    columns = zip(np.asarray(probabilities, dtype=np.float64).T, np.asarray(labels).T != 0, strict=True)
    return [_fit(forecast, actual, criterion) for forecast, actual in columns]


def _fit(forecast: Array, actual: Array, criterion: Criterion) -> Threshold:
    cuts, counts = _cuts(forecast, actual)
    scores = criterion.scores(counts)
    half = np.flatnonzero(counts[:, :2].sum(axis=1) == (forecast >= 0.5).sum())[0]  # cuts there as one half does
    if not actual.any():
        return Threshold(0.5, float(scores[half]), float(scores[half]))
    goal, is_reached = scores if criterion.greater_is_better else -scores, True
    if criterion.target is not None:
        name, least = criterion.target
        values = _metric(name)(counts)
        is_reached = bool((values >= least).any())
        goal = np.where(values >= least, scores, -1.0) if is_reached else values
    best = np.flatnonzero(goal >= goal.max() - 1e-12)
    chosen = best[np.argmin(np.abs(cuts[best] - 0.5))]
    return Threshold(float(cuts[chosen]), float(scores[chosen]), float(scores[half]), is_reached)


def _cuts(forecast: Array, actual: Array) -> tuple[Array, Array]:
    """Return every threshold that differs, from none predicted to all, and its counts (cuts, 4)."""
    values, group = np.unique(-forecast, return_inverse=True)
    chosen = np.concatenate([[0], np.cumsum(np.bincount(group))])
    hits = np.concatenate([[0], np.cumsum(np.bincount(group, weights=actual))])
    lowest_in = np.append(np.nextafter(max(1.0, -values[0]), 2.0), -values)
    highest_out = np.append(-values, 0.0)
    middle = (lowest_in + highest_out) / 2
    # Between neighbouring floats the middle rounds to one of them; it must not let the lower one in.
    cuts = np.where(middle > highest_out, middle, lowest_in)
    negatives = len(actual) - actual.sum()
    return cuts, np.stack([hits, chosen - hits, actual.sum() - hits, negatives - (chosen - hits)], axis=1)


def _metric(name: str) -> Callable[[Array], Array]:
    return lambda counts: METRICS[name].weighted(PREDICTED, ACTUAL, counts)
