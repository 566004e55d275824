"""Bootstrap intervals of scores over examples, or over whole groups of them, whose coverage simulation shows.

Scores of classes: the Bayesian bootstrap, a Dirichlet posterior over examples, as Bowyer et al. (2025) advise for few
of them. Its prior is `PRIOR` examples whose labels do not depend on their predictions, so that a perfect score has a
width. Scores of numbers, and losses: Efron's BCa interval, no narrower than the jackknife's standard error allows.
In both, the quantile is Student's t of the number of examples or groups; that of numbers and of differences is expanded
(Hesterberg, 2015), since a bootstrap of few is too narrow.
`benchmarks/coverage.py` measures how often the intervals hold the true score.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bertlab.data.groups import effective_groups
from bertlab.data.labels import REGRESSION
from bertlab.evaluation.metrics import Array, MetricFunction

# Of a 95% CI, on each side.
TAIL = 0.025
RESAMPLES = 1000
# 4 million floats are 32 MB: the most that one chunk of resampled weights takes.
CHUNK_ELEMENTS = 4_000_000
# The prior weighs as much as so many examples, drawn as up to so many pairs of a prediction and another row's label.
PRIOR, PRIOR_PAIRS = 2.2, 200
# The jackknife leaves out each example or group, or where there are more, each of so many parts of them.
JACKKNIFE_PARTS = 200


@dataclass(frozen=True)
class Resampled:
    """Scores of several models on the same resamples (models, resamples), and on those that leave a part out."""

    scores: Array
    left_out: Array | None
    units: float

    def interval(self, weights: Array, estimate: float) -> tuple[float, float]:
        """Return the 95% CI of a weighted sum of the models' scores, whose value on the data is `estimate`."""
        scores = weights @ self.scores
        levels, stretch = student_t(self.units - 1) * np.array([-1.0, 1.0]), 1.0
        if self.left_out is not None or weights.min() < 0:
            levels *= math.sqrt(self.units / (self.units - 1))
        if self.left_out is None and weights.min() < 0:
            # The prior narrows the posterior, which suits a score that has a bound, and not a difference.
            stretch = math.sqrt(1 + (PRIOR + 1) / self.units)
        elif self.left_out is not None and np.ptp(scores) > 0:
            levels, stretch = _bca(levels, scores, estimate, weights @ self.left_out)
        from scipy.special import ndtr

        low, high = estimate + stretch * (np.quantile(scores, ndtr(levels)) - estimate)
        return float(min(estimate, low)), float(max(estimate, high))


def student_t(df: float) -> float:
    """Return the quantile of Student's t that bounds a 95% CI."""
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - TAIL))


def design_effect(hits: Array, groups: Array) -> float:
    """Return how many times the variance of a mean of hits (n,) is that of independent examples, 1 or more (Kish)."""
    n, rate, count = len(hits), float(np.mean(hits)), int(groups.max()) + 1
    most = n / effective_groups(groups)
    if not 0 < rate < 1:
        return most
    sums = np.bincount(groups, weights=hits - rate)
    return float(np.clip(count / (count - 1) * (sums @ sums) / (n * rate * (1 - rate)), 1.0, most))


def resample(
    metric: MetricFunction,
    predictions: Sequence[Array],
    labels: Array,
    groups: Array | None = None,
    resamples: int = RESAMPLES,
) -> Resampled:
    """Return the scores of several models on the same resamples of n examples, or of the groups (n,) they are in."""
    units = float(len(labels)) if groups is None else effective_groups(groups)
    rng = np.random.default_rng(0)
    if REGRESSION in metric.problem_types or not metric.greater_is_better:
        scores = _score(metric, predictions, labels, _counted(groups, len(labels), resamples, rng))
        return Resampled(scores, _score(metric, predictions, labels, _leaving_out(groups, len(labels), rng)), units)
    n, pairs = len(labels), min(len(labels), PRIOR_PAIRS)
    chosen, others = (rng.permutation(n)[:pairs] for _ in range(2))
    sides = [np.concatenate([side, side[chosen]]) for side in predictions]
    labels_and_prior = np.concatenate([labels, labels[others]])
    prior = np.zeros(n + pairs)
    prior[n:] = PRIOR * _mean_design_effect(predictions, labels, groups) / pairs
    first, cell = _distinct_examples([*sides, labels_and_prior])
    weights = _posterior(cell, groups, n, np.bincount(cell, weights=prior), resamples, rng)
    return Resampled(_score(metric, [side[first] for side in sides], labels_and_prior[first], weights), None, units)


def _bca(levels: Array, scores: Array, estimate: float, left_out: Array) -> tuple[Array, float]:
    """Return normal quantiles corrected for bias and skewness (Efron, 1987), and how much too narrow the scores are."""
    from scipy.special import ndtri

    below = np.mean(scores < estimate) + np.mean(scores == estimate) / 2
    bias = ndtri(np.clip(below, 0.5 / len(scores), 1 - 0.5 / len(scores)))
    influence = left_out.mean() - left_out
    squares, parts = float(influence @ influence), len(left_out)
    skewness = float((influence**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    stretch = math.sqrt((parts - 1) / parts * squares) / float(scores.std())
    return bias + (bias + levels) / (1 - skewness * (bias + levels)), max(1.0, stretch)


def _mean_design_effect(predictions: Sequence[Array], labels: Array, groups: Array | None) -> float:
    if groups is None:
        return 1.0
    if any(side.shape != labels.shape for side in predictions):
        return len(labels) / effective_groups(groups)
    correct = [(side == labels).reshape(len(labels), -1).all(axis=1) for side in predictions]
    return float(np.mean([design_effect(hits, groups) for hits in correct]))


def _score(metric: MetricFunction, sides: Sequence[Array], labels: Array, weights: Iterator[Array]) -> Array:
    chunks = [np.stack([metric.weighted(side, labels, chunk) for side in sides]) for chunk in weights]
    return np.concatenate(chunks, axis=1)


def _distinct_examples(columns: Sequence[Array]) -> tuple[Array, Array]:
    """Return where each distinct row of the columns first occurs, and which of them each row is."""
    if columns[0].dtype.kind == "f":  # of probabilities and numbers hardly any are equal
        return np.arange(len(columns[0])), np.arange(len(columns[0]))
    rows = np.column_stack(columns)
    _, first, cell = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    if 8 * len(first) > len(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    return first, cell.reshape(-1)


def _chunks(resamples: int, columns: int) -> Iterator[int]:
    size = max(1, CHUNK_ELEMENTS // columns)
    yield from (min(size, resamples - start) for start in range(0, resamples, size))


def _posterior(
    cell: Array, groups: Array | None, n: int, prior: Array, resamples: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield (chunk, cells) weights: the sum over a cell of a gamma weight for each example, or for each group."""
    counts = np.bincount(cell[:n], minlength=len(prior))
    if groups is None:
        # A sum of gamma variables is one: 4 numbers in place of n for two classes.
        yield from (rng.standard_gamma(counts + prior, (size, len(prior))) for size in _chunks(resamples, len(prior)))
        return
    from scipy.sparse import coo_array

    cells_of_group = coo_array((np.ones(n), (cell[:n], groups)), shape=(len(prior), int(groups.max()) + 1)).tocsr()
    for size in _chunks(resamples, max(cells_of_group.shape)):
        weights = (cells_of_group @ rng.standard_exponential((cells_of_group.shape[1], size))).T
        yield weights + rng.standard_gamma(prior, weights.shape)


def _counted(groups: Array | None, n: int, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield (chunk, n) weights: how often each example, or its group, is drawn with replacement."""
    units = n if groups is None else int(groups.max()) + 1
    for size in _chunks(resamples, n):
        drawn = np.stack([np.bincount(rng.integers(units, size=units), minlength=units) for _ in range(size)])
        yield (drawn if groups is None else drawn[:, groups]).astype(float)


def _leaving_out(groups: Array | None, n: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield (chunk, n) weights of the jackknife: each row leaves out one part of the examples or groups."""
    unit = np.arange(n) if groups is None else groups
    parts = min(int(unit.max()) + 1, JACKKNIFE_PARTS)
    part_of_row = (rng.permutation(int(unit.max()) + 1) % parts)[unit]
    done = 0
    for size in _chunks(parts, n):
        yield (part_of_row != np.arange(done, done + size)[:, None]).astype(float)
        done += size
