"""How certain a score is: confidence intervals over examples and over seeds, and comparisons of two models."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.evaluation.metrics import METRICS, Array, MetricFunction

# 4 million floats are 32 MB: the most that one chunk of resampled weights takes.
CHUNK_ELEMENTS = 4_000_000
RESAMPLES = 1000
# Of a 95% CI, on each side.
TAIL = 0.025
# How A relates to B.
BETTER, WORSE = "significantly better than", "significantly worse than"
EQUAL, UNKNOWN = "not significantly different from", "not comparable with"
COMPARISON_HEADER = ("split", "metric", "A", "B", "A − B", "95% CI", "A better in", "n")


class Interval(NamedTuple):
    """A percentile bootstrap 95% CI of a score over `n` examples."""

    low: float
    high: float
    n: int


class SeedSummary(NamedTuple):
    """Mean, sample standard deviation and Student's t 95% CI of one score over `n` seeds."""

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


class McNemar(NamedTuple):
    """Examples that only A or only B predicts correctly, and the exact two-sided p value of that difference."""

    only_a: int
    only_b: int
    p_value: float


def bootstrap_interval(
    metric: MetricFunction, predictions: npt.ArrayLike, labels: npt.ArrayLike, resamples: int = RESAMPLES
) -> Interval:
    """Return the percentile bootstrap 95% CI of a metric over examples (Efron, 1979).

    Predictions and labels have n rows each; the metric is computed on all resamples at once. With fewer than two
    examples, or a score that is nan, both ends are nan. When every prediction is correct the interval has no width:
    the bootstrap cannot show errors it has not seen.
    """
    predicted, actual = np.asarray(predictions), np.asarray(labels)
    if len(actual) < 2 or math.isnan(metric(predicted, actual)):
        return Interval(math.nan, math.nan, len(actual))
    (scores,) = _bootstrap_scores(metric, [predicted], actual, resamples)
    return Interval(*_percentiles(scores), len(actual))


def paired_bootstrap(
    metric: MetricFunction,
    predictions_a: npt.ArrayLike,
    predictions_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two models on the same resamples of the same n examples (paired bootstrap; Koehn, 2004).

    With fewer than two examples, or a score that is nan, interval and `a_better` are nan.
    """
    first, second, actual = (np.asarray(column) for column in (predictions_a, predictions_b, labels))
    upward, difference = metric.greater_is_better, metric(first, actual) - metric(second, actual)
    if len(actual) < 2 or math.isnan(difference):
        return Comparison(difference, math.nan, math.nan, math.nan, len(actual), upward)
    scores_a, scores_b = _bootstrap_scores(metric, [first, second], actual, resamples)
    differences = scores_a - scores_b
    # Two weighted sums of the same score may differ in their last bits; that is a tie.
    a_better = (differences if upward else -differences) > 1e-12
    return Comparison(difference, *_percentiles(differences), float(a_better.mean()), len(actual), upward)


def paired_t_interval(
    scores_a: Sequence[float], scores_b: Sequence[float], greater_is_better: bool = True
) -> Comparison:
    """Compare two settings by their scores of the same n seeds, in the same order (paired t interval).

    With fewer than two seeds the interval is nan.
    """
    differences = [a - b for a, b in zip(scores_a, scores_b, strict=True)]
    summary = mean_sd_interval(differences)
    better = [difference > 0 if greater_is_better else difference < 0 for difference in differences]
    a_better = sum(better) / len(better) if better else math.nan
    return Comparison(summary.mean, summary.low, summary.high, a_better, summary.n, greater_is_better)


def mean_sd_interval(values: Sequence[float]) -> SeedSummary:
    """Return mean, sample standard deviation (n - 1) and Student's t 95% CI of scores over seeds.

    One value has a mean but neither deviation nor interval (nan); no values have none of them.
    """
    scores, n = np.asarray(values, dtype=float), len(values)
    mean = float(scores.mean()) if n else math.nan
    if n < 2:
        return SeedSummary(mean, math.nan, math.nan, math.nan, n)
    from scipy.special import stdtrit

    sd = float(scores.std(ddof=1))
    half = float(stdtrit(n - 1, 1 - TAIL)) * sd / math.sqrt(n)
    return SeedSummary(mean, sd, mean - half, mean + half, n)


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


def _percentiles(scores: Array) -> tuple[float, float]:
    low, high = np.quantile(scores, [TAIL, 1 - TAIL])
    return float(low), float(high)


def _bootstrap_scores(
    metric: MetricFunction, predictions: Sequence[Array], labels: Array, resamples: int
) -> list[Array]:
    """Return for each model's predictions the (resamples,) scores, all models on the same resamples."""
    rng = np.random.default_rng(0)
    first, counts = _distinct_examples([*predictions, labels])
    chunks = [
        [metric.weighted(side[first], labels[first], weights) for side in predictions]
        for weights in _resampled_weights(counts, resamples, rng)
    ]
    return [np.concatenate(scores) for scores in zip(*chunks, strict=True)]


def _distinct_examples(columns: Sequence[Array]) -> tuple[Array, Array]:
    """Return where each distinct row of the columns first occurs, and how often it does."""
    if columns[0].dtype.kind == "f":  # of probabilities and numbers hardly any are equal
        return np.arange(len(columns[0])), np.ones(len(columns[0]))
    rows = np.column_stack(columns)
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    if 8 * len(first) > len(rows):
        return np.arange(len(rows)), np.ones(len(rows))
    return first, counts


def _resampled_weights(counts: Array, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Yield (chunk, distinct) weights: how often each distinct example occurs in each resample."""
    n, distinct = int(counts.sum()), len(counts)
    size = max(1, CHUNK_ELEMENTS // distinct)
    for start in range(0, resamples, size):
        chunk = min(size, resamples - start)
        if distinct < n:
            # Sampling n examples with replacement and counting equal ones is sampling the counts of the cells
            # (true, predicted) from a multinomial distribution, with 4 numbers instead of n for two classes.
            yield rng.multinomial(n, counts / n, size=chunk).astype(float)
        else:
            samples = (rng.integers(n, size=n) for _ in range(chunk))
            yield np.stack([np.bincount(sample, minlength=n) for sample in samples]).astype(float)
