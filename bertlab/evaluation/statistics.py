"""How certain a score is: confidence intervals over examples and over seeds, and comparisons of two models."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.data.labels import REGRESSION
from bertlab.evaluation import resampling
from bertlab.evaluation.metrics import METRICS, Array, MetricFunction
from bertlab.evaluation.resampling import RESAMPLES

# With which probability a test of enough seeds finds the difference.
POWER = 0.8
# How A relates to B.
BETTER, WORSE = "significantly better than", "significantly worse than"
EQUAL, UNKNOWN = "not significantly different from", "not comparable with"
COMPARISON_HEADER = ("split", "metric", "A", "B", "A − B", "95% CI", "A better in", "n")


class Interval(NamedTuple):
    """A 95% CI of a score over `n` examples."""

    low: float
    high: float
    n: int


class SeedSummary(NamedTuple):
    """Mean, sample standard deviation and 95% CI of one score over `n` seeds."""

    mean: float
    sd: float
    low: float
    high: float
    n: int


class Comparison(NamedTuple):
    """The difference A − B of one metric with its 95% CI over `n` examples or seeds.

    `a_better` is the fraction of resamples, or of seeds, in which A has the better score.
    """

    difference: float
    low: float
    high: float
    a_better: float
    n: int
    greater_is_better: bool = True


class Lead(NamedTuple):
    """A mean difference over `n` seeds with its 95% CI and the two-sided p value of none; nan of fewer than two."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int


class McNemar(NamedTuple):
    """Examples that only A or only B predicts correctly, and the exact two-sided p value of that difference."""

    only_a: int
    only_b: int
    p_value: float


def bootstrap_interval(
    metric: MetricFunction,
    predictions: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95% CI of a metric over n examples, or over the groups that they are in.

    Predictions and labels have n rows each, and so have the names or numbers of `groups`. A proportion of independent
    examples has Wilson's interval, any other score the one that `resampling` describes. With fewer than two examples or
    groups, a score that is nan or the same in all resamples (a correlation with a constant), both ends are nan.
    """
    predicted, actual = np.asarray(predictions), np.asarray(labels)
    units, score = _groups(groups), metric(predicted, actual)
    if math.isnan(score) or _few(units, actual):
        return Interval(math.nan, math.nan, len(actual))
    trials = _trials(metric.name, predicted, actual) if units is None else None
    if trials is not None and trials[0].any():
        ends = proportion_interval(trials[1].sum(), trials[0].sum())
        return Interval(float(ends[0]), float(ends[1]), len(actual))
    found = resampling.resample(metric, [predicted], actual, units, resamples)
    low, high = found.interval(np.ones(1), score)
    return Interval(*_with_chance_hits(metric, [predicted], actual, found.units, (low, score, high)), len(actual))


def proportion_interval(hits: npt.ArrayLike, totals: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the ends of the 95% CIs of proportions (Wilson, 1927); nan of nothing."""
    k, n, z = np.asarray(hits, dtype=float), np.asarray(totals, dtype=float), -NormalDist().inv_cdf(resampling.TAIL)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, square = k / n, z**2 / n
        half = np.sqrt(square * rate * (1 - rate) + square**2 / 4)
        # At the ends rounding could leave a sliver outside.
        ends = ((rate + square / 2 + sign * half) / (1 + square) for sign in (-1, 1))
        low, high = (np.clip(end, 0.0, 1.0) for end in ends)
    return low, high


def paired_bootstrap(
    metric: MetricFunction,
    predictions_a: npt.ArrayLike,
    predictions_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two models on the same resamples of the same n examples or groups (paired bootstrap; Koehn, 2004).

    With fewer than two examples or groups, or a score that is nan, interval and `a_better` are nan.
    """
    first, second, actual = (np.asarray(column) for column in (predictions_a, predictions_b, labels))
    upward, difference = metric.greater_is_better, metric(first, actual) - metric(second, actual)
    units = _groups(groups)
    if math.isnan(difference) or _few(units, actual):
        return Comparison(difference, math.nan, math.nan, math.nan, len(actual), upward)
    found = resampling.resample(metric, [first, second], actual, units, resamples)
    contrast = np.array([1.0, -1.0])
    # Two weighted sums of the same score may differ in their last bits; that is a tie.
    a_better = (contrast @ found.scores if upward else -contrast @ found.scores) > 1e-12
    interval = found.interval(contrast, difference)
    return Comparison(difference, *interval, float(a_better.mean()), len(actual), upward)


def two_way_interval(
    metric: MetricFunction,
    predictions: Sequence[npt.ArrayLike],
    labels: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    baseline: Sequence[npt.ArrayLike] = (),
    resamples: int = RESAMPLES,
) -> SeedSummary:
    """Return mean, deviation and 95% CI of the scores of several seeds, over seeds and examples (or groups) together.

    With `baseline`, other predictions of the same seeds, it is of the differences. As in the multi-bootstrap (Sellam et
    al., 2022), all seeds are scored on the same resamples. Resampling few seeds as well is too narrow by half, so that
    the variance over seeds is added to that over examples, less what is in both, each times its own quantile of
    Student's t (Zou and Donner, 2008). With fewer than two seeds the interval is nan.
    """
    sides, actual = [np.asarray(side) for side in (*predictions, *baseline)], np.asarray(labels)
    seeds = len(predictions)
    contrast = np.eye(seeds) if not baseline else np.hstack([np.eye(seeds), -np.eye(seeds)])
    scores = contrast @ np.array([metric(side, actual) for side in sides])
    over_seeds, units = mean_sd_interval(scores.tolist()), _groups(groups)
    if math.isnan(over_seeds.low) or _few(units, actual):
        return over_seeds
    found = resampling.resample(metric, sides, actual, units, resamples)
    low, high = found.interval(contrast.mean(axis=0), over_seeds.mean)
    resampled = contrast @ found.scores
    if float(resampled.mean(axis=0).std()) > 1e-12:
        stretch = _stretch(resampled, over_seeds.sd**2 / seeds, found.units)
        low, high = (over_seeds.mean + stretch * (end - over_seeds.mean) for end in (low, high))
    elif over_seeds.sd > 1e-12:  # as many seeds predict one class as the other, so their mean depends on no example
        low, high = over_seeds.low, over_seeds.high
    if not baseline:
        low, high = _with_chance_hits(metric, sides, actual, found.units, (low, over_seeds.mean, high))
    return SeedSummary(over_seeds.mean, over_seeds.sd, low, high, seeds)


def mean_sd_interval(values: Sequence[float]) -> SeedSummary:
    """Return mean, sample standard deviation (n - 1) and Student's t 95% CI of scores over seeds.

    One value has a mean but neither deviation nor interval (nan); no values have none of them.
    """
    scores, n = np.asarray(values, dtype=float), len(values)
    mean = float(scores.mean()) if n else math.nan
    if n < 2:
        return SeedSummary(mean, math.nan, math.nan, math.nan, n)
    sd = float(scores.std(ddof=1))
    half = resampling.student_t(n - 1) * sd / math.sqrt(n)
    return SeedSummary(mean, sd, mean - half, mean + half, n)


def seeds_needed(sd: float, difference: float = 0.01, *, paired: bool = False) -> int | None:
    """Return how many seeds of each of two settings tell a difference apart in 80 of 100 cases, at the 5 % level.

    `sd` is that of the scores over seeds, or with `paired` that of the differences of the same seed. It is the number
    for which Student's t test has that power; None without a deviation.
    """
    if not sd > 1e-12:  # equal scores differ by rounding
        return None
    from scipy.stats import nct

    sides = 1 if paired else 2
    normal = sides * ((NormalDist().inv_cdf(1 - resampling.TAIL) + NormalDist().inv_cdf(POWER)) * sd / difference) ** 2
    seeds = np.arange(max(2, int(normal) - 1), int(normal) + 12)
    df, shift = sides * (seeds - 1), difference / (sd * np.sqrt(sides / seeds))
    critical = np.array([resampling.student_t(float(value)) for value in df])
    return int(seeds[np.argmax(nct.sf(critical, df, shift) + nct.cdf(-critical, df, shift) >= POWER)])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values that are corrected for their number (Holm, 1979)."""
    p, n = np.asarray(p_values, dtype=float), len(p_values)
    order, corrected = np.argsort(p), np.empty(n)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(n, 0, -1)))
    return [float(value) for value in corrected]


def lead(differences: Sequence[float], intervals: Sequence[tuple[float, float]], units: float) -> Lead:
    """Return mean, 95% CI and p value of the differences A − B of each seed, over seeds and examples together.

    `intervals` are the ends of the 95% CI of each difference over `units` examples or groups; without them it is
    Student's t over seeds. Both variances are added, with Satterthwaite's degrees of freedom. What differs between
    seeds because of the examples is in both, which makes it a little wide.
    """
    from scipy.special import stdtr

    mean, sd, *_, n = mean_sd_interval(differences)
    if n < 2:
        return Lead(mean, math.nan, math.nan, math.nan, n)
    lengths = np.abs(np.array(intervals) - np.array(differences)[:, None]).mean(axis=0) if intervals else np.zeros(2)
    below, above = ((length / resampling.student_t(units - 1)) ** 2 if length else 0.0 for length in lengths)
    ends, p_value = [], float(mean == 0)
    for sign, over_examples in ((-1, below), (1, above)):
        total = over_examples + sd**2 / n
        # One example or group has no interval, hence no variance.
        squares = (over_examples**2 / (units - 1) if over_examples else 0.0) + (sd**2 / n) ** 2 / (n - 1)
        df, se = (total**2 / squares if squares else math.inf), math.sqrt(total)
        ends.append(mean + sign * se * resampling.student_t(df))
        if mean * sign < 0 < se:  # the end on the side of 0
            p_value = float(2 * stdtr(df, -abs(mean) / se))
    return Lead(mean, ends[0], ends[1], p_value, n)


def mcnemar(correct_a: npt.ArrayLike, correct_b: npt.ArrayLike) -> McNemar:
    """Test whether two classifiers err equally often on the same n examples (McNemar, 1947; exact binomial).

    Both arguments are (n,) booleans: the examples that each model predicts correctly. The p value is 1.0 when they
    never disagree.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    if only_a + only_b == 0:
        return McNemar(0, 0, 1.0)
    from scipy.stats import binomtest

    return McNemar(only_a, only_b, float(binomtest(only_a, only_a + only_b, 0.5).pvalue))


def verdict(low: float | None, high: float | None, greater_is_better: bool = True) -> str:
    """Return how A relates to B, as words to put between their names, by the 95% CI of A − B (None or nan: unknown)."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return UNKNOWN
    if low <= 0 <= high:
        return EQUAL
    return BETTER if (low > 0) == greater_is_better else WORSE


def describe_comparison(
    comparison: Comparison, metric: str, name_a: str = "A", name_b: str = "B", unit: str = "examples"
) -> str:
    """Return the verdict on A and B in one sentence, with the difference and its 95% CI."""
    difference, low, high, _, n, upward = comparison
    relation = f"{name_a} is {verdict(low, high, upward)} {name_b}"
    if math.isnan(low):
        return f"{relation}: {metric}, n = {n:,} {unit}."
    return f"{relation}: {metric} {difference:+.4f}, 95% CI {low:+.4f} to {high:+.4f}, n = {n:,} {unit}."


def comparison_row(split: str, metric: str, a: str, b: str, comparison: Comparison) -> tuple[str, ...]:
    """Return one row of a table under COMPARISON_HEADER; `a` and `b` are the scores as text."""
    difference, low, high, better, n, _ = comparison
    interval, fraction = ("-", "-") if math.isnan(low) else (f"{low:+.4f} to {high:+.4f}", f"{better:.0%}")
    return (split, metric.replace("_", " "), a, b, f"{difference:+.4f}", interval, fraction, f"{n:,}")


def per_batch_mcc(predictions: npt.ArrayLike, labels: npt.ArrayLike, batch_size: int) -> list[float]:
    """Return the Matthews correlation of each consecutive batch of (n,) class ids, the last one as short as it is.

    This is the list that the CoLA fine-tuning tutorial of McCormick and Ryan (2019) plots: 17 values for 516 rows at
    32.
    """
    predicted, actual = np.asarray(predictions), np.asarray(labels)
    score = METRICS["matthews_correlation"]
    starts = range(0, len(actual), batch_size)
    return [score(predicted[start : start + batch_size], actual[start : start + batch_size]) for start in starts]


def _stretch(scores: Array, variance_of_seeds: float, units: float) -> float:
    """Return by how much seeds lengthen the interval over examples.

    `scores` are those of each seed on the same resamples (seeds, resamples); `variance_of_seeds` is that of their mean.
    """
    seeds, over_examples = len(scores), float(scores.mean(axis=0).var())
    # What differs between seeds because of the examples alone is in both variances.
    in_both = (float(scores.var(axis=1).mean()) - over_examples) / (seeds - 1)
    if variance_of_seeds <= in_both:
        return 1.0
    t_examples, t_seeds = resampling.student_t(units - 1), resampling.student_t(seeds - 1)
    half = math.hypot(t_examples * math.sqrt(max(0.0, over_examples - in_both)), t_seeds * math.sqrt(variance_of_seeds))
    return half / (t_examples * math.sqrt(over_examples))


def _with_chance_hits(
    metric: MetricFunction, sides: Sequence[Array], labels: Array, units: float, ends: tuple[float, float, float]
) -> tuple[float, float]:
    """Return the interval of a mean score (low, score, high), widened for classes that are never predicted rightly.

    No resample says how often they might be. As many rows as Wilson's limit of none allows may be predicted as them:
    their own, or others. The distances of an end from the score are added as independent ones (Zou and Donner, 2008).
    No score is above 1 or below the least that its metric has; an interval without width, but for rounding, is none.
    """
    low, score, high = ends
    if not metric.of_probabilities and REGRESSION not in metric.problem_types:
        found = [_with_hits(metric, side, labels, units / len(labels)) for side in sides]
        worst, best = np.mean(found, axis=0) - np.mean([metric(side, labels) for side in sides])
        low, high = score - math.hypot(score - low, worst), score + math.hypot(high - score, best)
    low, high = max(low, metric.least), min(high, 1.0) if metric.greater_is_better else high
    rounding = 1e-12 * (1.0 if metric.greater_is_better else high)
    return (low, high) if high - low > rounding else (math.nan, math.nan)


def _with_hits(metric: MetricFunction, predictions: Array, labels: Array, share: float) -> tuple[float, float]:
    """Return the scores if classes without a hit were predicted, wrongly and rightly; only a share of rows counts."""
    if labels.ndim == 2:
        missed = labels.any(axis=0) & ~(labels * predictions).any(axis=0)
        own = labels[:, missed].any(axis=1)
        wrong, right = np.where(missed, 1, predictions), np.where(missed, labels, predictions)
    else:
        own = ~np.isin(labels, labels[labels == predictions])
        wrong, right = np.full_like(labels, labels[own.argmax()]), labels
    scores = [metric(predictions, labels)] * 2
    for way, (rows, changed) in enumerate(((~own, wrong), (own, right))):
        if own.any() and rows.any():
            most = proportion_interval(0, share * rows.sum())[1]
            both = np.concatenate([predictions, changed]), np.concatenate([labels, labels])
            scores[way] = float(metric.weighted(*both, np.concatenate([1 - most * rows, most * rows])[None])[0])
    return scores[0], scores[1]


def _groups(groups: npt.ArrayLike | None) -> Array | None:
    return None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]


def _few(groups: Array | None, labels: Array) -> bool:
    """Return True where there are fewer than two examples or groups."""
    return len(labels) < 2 or (groups is not None and not groups.any())


def _trials(metric: str, predictions: Array, labels: Array) -> tuple[Array, Array] | None:
    """Return which rows count and which of them are hits where a metric is a proportion of rows, else None."""
    if metric == "accuracy":
        return np.ones(len(labels), dtype=bool), (predictions == labels).reshape(len(labels), -1).all(axis=1)
    if labels.ndim > 1 or metric not in ("precision", "recall", "f1_micro"):
        return None
    if metric == "f1_micro":  # of one label a row it is accuracy
        return _trials("accuracy", predictions, labels)
    counted = (predictions if metric == "precision" else labels) == 1
    return counted, counted & (predictions == labels)
