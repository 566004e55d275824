"""Intervals and comparisons against cases worked by hand, exact distributions and simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from benchmarks import coverage
from bertlab.evaluation import resampling
from bertlab.evaluation.metrics import METRICS
from bertlab.evaluation.statistics import (
    Comparison,
    McNemar,
    bootstrap_interval,
    comparison_row,
    describe_comparison,
    holm,
    lead,
    mcnemar,
    mean_sd_interval,
    paired_bootstrap,
    per_batch_mcc,
    proportion_interval,
    seeds_needed,
    two_way_interval,
    verdict,
)
from bertlab.report.results import per_class


def noisy_classes(n, accuracy, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    wrong = (labels + 1) % classes
    return np.where(rng.random(n) < accuracy, labels, wrong), labels


def noisy_values(n, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.normal(size=n)
    return labels + rng.normal(size=n), labels


def plain_bootstrap(name, predictions, labels, resamples=2000):
    """The interval of a metric that is called once per resample."""
    rng = np.random.default_rng(1)
    samples = (rng.integers(len(labels), size=len(labels)) for _ in range(resamples))
    scores = [METRICS[name](predictions[sample], labels[sample]) for sample in samples]
    return np.quantile(scores, [0.025, 0.975])


@pytest.mark.parametrize(("n", "right"), [(10, 7), (50, 45), (400, 320), (20, 20), (9, 0)])
def test_accuracy_precision_and_recall_have_wilsons_interval(n, right):
    predictions, labels = (np.arange(n) < right).astype(int), np.ones(n, dtype=int)
    expected = scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
    for name, sides in (
        ("accuracy", (predictions, labels)),
        ("recall", (predictions, labels)),
        ("precision", (labels, predictions)),
    ):
        assert bootstrap_interval(METRICS[name], *sides) == pytest.approx((*expected, n))


def test_the_intervals_of_several_proportions_are_scipys():
    hits, totals = np.array([0, 3, 5, 40]), np.array([5, 5, 5, 193])
    found = np.stack(proportion_interval(hits, totals), axis=1)
    expected = [scipy.stats.binomtest(*pair).proportion_ci(method="wilson") for pair in zip(hits, totals, strict=True)]
    assert found == pytest.approx(np.array(expected))


def test_a_score_of_classes_has_the_interval_of_its_dirichlet_posterior():
    labels = np.array([0] * 30 + [1] * 50)
    predictions = np.array([0] * 22 + [1] * 8 + [0] * 5 + [1] * 45)
    counts = np.array([22, 8, 5, 45])  # (true, predicted): 00, 01, 10, 11
    prior = 2.2 * np.outer([30 / 80, 50 / 80], [27 / 80, 53 / 80]).reshape(-1)
    share = scipy.stats.dirichlet(counts + prior).rvs(20_000, random_state=1)
    f1 = 2 * share[:, 3] / (2 * share[:, 3] + share[:, 1] + share[:, 2])
    level = scipy.stats.norm.cdf(-scipy.stats.t.ppf(0.975, 79))
    found = bootstrap_interval(METRICS["f1"], predictions, labels, resamples=20_000)
    assert found[:2] == pytest.approx(np.quantile(f1, [level, 1 - level]), abs=0.004)


def test_a_score_of_numbers_has_scipys_bca_interval_a_little_wider():
    predictions, labels = noisy_values(60)
    low, high, _ = bootstrap_interval(METRICS["mse"], predictions, labels, resamples=20_000)
    squares = ((predictions - labels) ** 2,)
    wider = 2 * scipy.stats.norm.cdf(scipy.stats.t.ppf(0.975, 59) * math.sqrt(60 / 59)) - 1
    expected = scipy.stats.bootstrap(
        squares, np.mean, n_resamples=20_000, confidence_level=wider, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    # The jackknife's standard error of a mean is that of the bootstrap times sqrt(n / (n - 1)).
    stretch, mean = math.sqrt(60 / 59), squares[0].mean()
    assert (low - mean, high - mean) == pytest.approx([stretch * (end - mean) for end in expected], rel=0.03)


def test_groups_are_resampled_as_a_whole():
    # Ten copies of each example are no more evidence than one.
    data = noisy_values(80)
    for name, sides in (("pearson", data), ("matthews_correlation", noisy_classes(80, 0.8))):
        single = bootstrap_interval(METRICS[name], *sides)
        copies = [np.repeat(side, 10) for side in sides]
        grouped = bootstrap_interval(METRICS[name], *copies, np.repeat(range(80), 10))
        assert grouped[:2] == pytest.approx(single[:2], abs=0.15 * (single.high - single.low))
        rows = bootstrap_interval(METRICS[name], *copies)
        assert (grouped.high - grouped.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(10), rel=0.2)


def test_groups_of_one_are_examples_and_one_group_is_too_few():
    sides = noisy_classes(100, 0.8)
    alone = bootstrap_interval(METRICS["f1_macro"], *sides, [f"patient {row}" for row in range(100)])
    assert alone[:2] == pytest.approx(bootstrap_interval(METRICS["f1_macro"], *sides)[:2], abs=0.02)
    assert math.isnan(bootstrap_interval(METRICS["f1_macro"], *sides, np.zeros(100)).low)


def test_the_design_effect_of_groups_by_hand():
    # Four pairs with rates 1, 1, 0, 1/2: sums of hits - 5/8 are 3/4, 3/4, -5/4, -1/4.
    hits, groups = np.array([1, 1, 1, 1, 0, 0, 1, 0]), np.repeat(range(4), 2)
    squares = (9 + 9 + 25 + 1) / 16
    assert resampling.design_effect(hits, groups) == pytest.approx(4 / 3 * squares / (8 * 15 / 64))


@pytest.mark.parametrize("name", ["matthews_correlation", "f1", "f1_macro", "pearson", "spearmanr", "mse"])
def test_the_fast_path_has_the_distribution_of_the_plain_bootstrap(name):
    data = noisy_values(300) if name in ("pearson", "spearmanr", "mse") else noisy_classes(300, 0.8)
    fast = bootstrap_interval(METRICS[name], *data, resamples=2000)
    low, high = plain_bootstrap(name, *data)
    assert fast[:2] == pytest.approx((low, high), abs=0.15 * (high - low))
    assert fast.low < METRICS[name](*data) < fast.high


def test_multi_label_and_many_chunks():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5000, 6))
    predictions = np.where(rng.random(labels.shape) < 0.9, labels, 1 - labels)
    for name in ("f1_micro", "f1_macro", "f1_samples", "accuracy"):
        low, high, *_ = bootstrap_interval(METRICS[name], predictions, labels)
        assert low < METRICS[name](predictions, labels) < high
        assert high - low < 0.05
    values = noisy_values(30_000)
    low, high, *_ = bootstrap_interval(METRICS["pearson"], *values, resamples=300)
    assert low < METRICS["pearson"](*values) < high


def test_the_same_examples_have_the_same_interval():
    data = noisy_values(100)
    assert bootstrap_interval(METRICS["pearson"], *data) == bootstrap_interval(METRICS["pearson"], *data)


@pytest.mark.parametrize("metric", [METRICS["accuracy"], METRICS["pearson"]])
@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_examples_have_no_interval(metric, n):
    low, high, count = bootstrap_interval(metric, np.ones(n), np.ones(n))
    assert math.isnan(low)
    assert math.isnan(high)
    assert count == n


def test_a_perfect_score_has_a_width():
    labels = np.arange(60) % 2
    for name in ("accuracy", "matthews_correlation", "f1", "f1_macro"):
        low, high, _ = bootstrap_interval(METRICS[name], labels, labels)
        assert 0.8 < low < 0.97 and high == pytest.approx(1.0), name
    several = np.stack([labels, 1 - labels, labels], axis=1)
    assert bootstrap_interval(METRICS["f1_micro"], several, several).low < 0.97


def test_what_is_the_same_in_every_resample_has_no_interval():
    for name, sides in (
        ("matthews_correlation", ([1] * 20, [1] * 20)),
        ("pearson", ([0.1] * 20, np.arange(20))),
        # By rounding not quite the same.
        ("spearmanr", (np.arange(10) + 0.5, np.arange(10))),
        ("cohen_kappa", (np.arange(40) % 2, [1] * 40)),
    ):
        assert np.isnan(bootstrap_interval(METRICS[name], *sides)[:2]).all()
        assert np.isnan(two_way_interval(METRICS[name], [sides[0]] * 3, sides[1])[2:4]).all()


@pytest.mark.parametrize("false_alarms", [0, 1])
def test_a_class_that_is_never_found_may_be_in_as_many_rows_as_wilsons_limit_allows(false_alarms):
    labels, predictions = np.repeat([1, 0], [30, 70]), np.zeros(100, dtype=int)
    predictions[100 - false_alarms :] = 1
    found, wrong = (scipy.stats.binomtest(0, k).proportion_ci(method="wilson").high for k in (30, 70))
    hits, alarms = 30 * found, 70 * wrong
    if not false_alarms:  # scores in closed form, at the recall that is still possible and with no false positive
        phi = math.sqrt(hits * 70 / ((100 - hits) * 30))
        expected = {
            "f1": (0, 2 * found / (1 + found)),
            "f2": (0, 5 * found / (4 + found)),
            "precision": (0, 1),
            "recall": (0, found),
            "balanced_accuracy": ((1 - wrong) / 2, (1 + found) / 2),
            "matthews_correlation": (-math.sqrt(alarms * 30 / ((100 - alarms) * 70)), phi),
        }
        for name, ends in expected.items():
            assert bootstrap_interval(METRICS[name], predictions, labels)[:2] == pytest.approx(ends), name
            seeds = two_way_interval(METRICS[name], [predictions] * 3, labels)
            assert (seeds.low, seeds.high) == pytest.approx(ends), name
    low, high, _ = bootstrap_interval(METRICS["f1"], predictions, labels)
    assert (low, high) == pytest.approx((0, 2 * hits / (30 + hits + false_alarms)), abs=0.02)
    macro = bootstrap_interval(METRICS["f1_macro"], predictions, labels)
    assert macro.high > METRICS["f1_macro"](predictions, labels) + found / (1 + found) / 2


def test_pairs_of_rows_without_a_hit_say_less_and_several_labels_too_have_a_width():
    labels, predictions = np.repeat([1, 0], [30, 70]), np.zeros(100, dtype=int)
    high = scipy.stats.binomtest(0, 15).proportion_ci(method="wilson").high
    grouped = bootstrap_interval(METRICS["f1"], predictions, labels, np.arange(100) // 2)
    assert grouped[:2] == pytest.approx((0, 2 * high / (1 + high)))
    several = np.column_stack([labels, 1 - labels])
    for name in ("f1_micro", "f1_macro", "f1_samples", "accuracy"):
        low, high, _ = bootstrap_interval(METRICS[name], np.zeros_like(several), several.astype(np.float32))
        assert low == 0 < high < 0.1, name


def test_a_resample_of_one_value_correlates_at_zero():
    # With two examples half of the resamples hold one of them twice: 0.0 there, and 1.0 elsewhere.
    for name in ("pearson", "spearmanr"):
        assert bootstrap_interval(METRICS[name], [0.1, 0.3], [0.7, 0.9])[:2] == pytest.approx((0.0, 1.0))


def test_a_score_that_is_nan_has_no_interval():
    assert math.isnan(bootstrap_interval(METRICS["mse"], [1.0, np.nan], [1.0, 2.0]).low)


def test_mean_sd_interval_by_hand():
    # Values 1, 2, 3: mean 2, sd 1, t(0.975, 2 degrees of freedom) = 4.302653, half width 4.302653 / sqrt(3).
    summary = mean_sd_interval([1.0, 2.0, 3.0])
    assert summary == pytest.approx((2.0, 1.0, 2 - 2.484138, 2 + 2.484138, 3), abs=1e-5)
    expected = scipy.stats.t.interval(0.95, 3, 2.5, scipy.stats.sem([1, 2, 3, 4]))
    assert mean_sd_interval([1, 2, 3, 4])[2:4] == pytest.approx(expected)


def test_mean_of_one_and_of_none():
    assert mean_sd_interval([0.5]) == pytest.approx((0.5, *[math.nan] * 3, 1), nan_ok=True)
    assert mean_sd_interval([]) == pytest.approx((*[math.nan] * 4, 0), nan_ok=True)
    assert mean_sd_interval([0.5, 0.5])[:4] == (0.5, 0.0, 0.5, 0.5)


def test_paired_bootstrap_sees_a_difference_that_separate_intervals_do_not():
    good, labels = noisy_classes(1000, 0.85)
    worse = good.copy()
    worse[:15] = 1 - labels[:15]
    comparison = paired_bootstrap(METRICS["accuracy"], good, worse, labels)
    intervals = [bootstrap_interval(METRICS["accuracy"], side, labels) for side in (good, worse)]
    assert intervals[1].high > intervals[0].low
    assert 0 < comparison.low < comparison.difference < comparison.high
    assert comparison.a_better > 0.99
    mirrored = paired_bootstrap(METRICS["accuracy"], worse, good, labels)
    assert mirrored.difference == pytest.approx(-comparison.difference)


def test_paired_bootstrap_of_numbers_by_hand():
    # Squared errors of A: 0, 0, 4, 4; of B: 1, 1, 1, 9: A is worse in a resample where 3 c > a + b + 5 d.
    labels, a, b = np.zeros(4), np.array([0.0, 0.0, 2.0, 2.0]), np.array([1.0, 1.0, 1.0, 3.0])
    comparison = paired_bootstrap(METRICS["mse"], a, b, labels, resamples=20_000)
    law = scipy.stats.multinomial(4, [0.25] * 4)
    cells = [(i, j, k, 4 - i - j - k) for i in range(5) for j in range(5 - i) for k in range(5 - i - j)]
    assert comparison.difference == -1.0
    better = sum(law.pmf(c) for c in cells if -c[0] - c[1] + 3 * c[2] - 5 * c[3] < 0)
    assert comparison.a_better == pytest.approx(better, abs=0.015)


def test_paired_bootstrap_over_groups_is_wider():
    good, labels = noisy_classes(200, 0.85)
    worse, _ = noisy_classes(200, 0.75)
    sides = [np.repeat(column, 5) for column in (good, worse, labels)]
    rows = paired_bootstrap(METRICS["accuracy"], *sides)
    grouped = paired_bootstrap(METRICS["accuracy"], *sides, np.repeat(range(200), 5))
    assert grouped.difference == rows.difference
    assert (grouped.high - grouped.low) / (rows.high - rows.low) == pytest.approx(math.sqrt(5), rel=0.1)


@pytest.mark.parametrize("metric", [METRICS["mse"], METRICS["pearson"]])
def test_a_model_ties_with_itself(metric):
    predictions, labels = noisy_values(60)
    comparison = paired_bootstrap(metric, predictions, predictions, labels, resamples=50)
    assert comparison[:4] == (0.0, 0.0, 0.0, 0.0)


def test_a_lower_error_is_better():
    predictions, labels = noisy_values(300)
    comparison = paired_bootstrap(METRICS["mse"], labels + 0.1, predictions, labels)
    assert comparison.high < 0
    assert comparison.a_better == 1.0
    assert describe_comparison(comparison, "mse", "BERT", "words").startswith("BERT is significantly better than words")


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_to_compare(n):
    comparison = paired_bootstrap(METRICS["accuracy"], [1] * n, [0] * n, [1] * n)
    assert math.isnan(comparison.low)
    assert describe_comparison(comparison, "accuracy") == f"A is not comparable with B: accuracy, n = {n} examples."
    assert comparison_row("test", "accuracy", "-", "-", comparison)[-3:] == ("-", "-", str(n))


@pytest.mark.parametrize(
    ("low", "high", "greater_is_better", "expected"),
    [
        (0.01, 0.03, True, "significantly better than"),
        (0.01, 0.03, False, "significantly worse than"),
        (-0.03, -0.01, True, "significantly worse than"),
        (-0.03, -0.01, False, "significantly better than"),
        (-0.01, 0.03, True, "not significantly different from"),
        (0.0, 0.03, True, "not significantly different from"),
        (math.nan, math.nan, True, "not comparable with"),
        (None, None, True, "not comparable with"),
    ],
)
def test_the_interval_of_the_difference_decides_the_verdict(low, high, greater_is_better, expected):
    assert verdict(low, high, greater_is_better) == expected


def test_a_comparison_is_one_sentence_and_one_row():
    comparison = Comparison(-0.02, -0.03, -0.01, 0.0, 1043)
    assert describe_comparison(comparison, "accuracy", name_b="large") == (
        "A is significantly worse than large: accuracy -0.0200, 95% CI -0.0300 to -0.0100, n = 1,043 examples."
    )
    expected = ("test", "f1 macro", "0.7", "0.8", "-0.0200", "-0.0300 to -0.0100", "0%", "1,043")
    assert comparison_row("test", "f1_macro", "0.7", "0.8", comparison) == expected


def test_mcnemar_by_hand():
    # 1 against 5 discordant examples: 2 x (C(6,0) + C(6,1)) / 2^6 = 14 / 64.
    correct_a = np.array([True] * 1 + [False] * 5 + [True] * 30 + [False] * 4)
    correct_b = np.array([False] * 1 + [True] * 5 + [True] * 30 + [False] * 4)
    assert mcnemar(correct_a, correct_b) == McNemar(1, 5, pytest.approx(14 / 64))
    assert mcnemar(correct_b, correct_a) == McNemar(5, 1, pytest.approx(14 / 64))
    assert mcnemar(correct_a, correct_a) == mcnemar([], []) == McNemar(0, 0, 1.0)


def test_per_batch_mcc_lists_17_values_for_516_rows():
    predictions, labels = noisy_classes(516, 0.8)
    scores = per_batch_mcc(predictions, labels, 32)
    assert len(scores) == 17
    assert scores[3] == pytest.approx(sk.matthews_corrcoef(labels[96:128], predictions[96:128]))
    assert scores[16] == METRICS["matthews_correlation"](predictions[512:], labels[512:])
    assert per_batch_mcc(predictions, labels, 1000) == [METRICS["matthews_correlation"](predictions, labels)]
    assert per_batch_mcc([], [], 32) == []


def test_every_class_has_its_scores_also_one_called_accuracy_and_one_that_never_occurs():
    predictions, labels = noisy_classes(300, 0.7, classes=5)
    scores = per_class(predictions, labels, ["accuracy", "macro avg", "c", "d", "e", "f"])
    assert list(scores) == ["accuracy", "macro avg", "c", "d", "e", "f"]
    for k, row in enumerate(scores.values()):
        expected = {name: METRICS[name](predictions == k, labels == k) for name in ("precision", "recall", "f1")}
        assert row == pytest.approx({**expected, "support": (labels == k).sum()})


def test_the_scores_per_class_of_several_labels_and_of_a_single_one():
    several = per_class(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]), ["joy", "fear"])
    assert (several["joy"]["precision"], several["fear"]["f1"]) == (0.5, 1.0)
    single = per_class(np.array([[1], [0]]), np.array([[1], [1]]), ["joy"])
    assert single == {"joy": pytest.approx({"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2})}


def test_seeds_needed_have_the_power_of_the_t_test():
    # Cohen (1988): an effect of d = 0.5 takes 34 pairs, or 64 in each of two samples; d = 0.8 takes 15, or 26.
    assert [seeds_needed(1.0, d, paired=True) for d in (0.5, 0.8)] == [34, 15]
    assert [seeds_needed(1.0, d) for d in (0.5, 0.8)] == [64, 26]
    assert all(seeds_needed(sd) is None for sd in (0.0, math.nan, 1.4e-16))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6]) == [0.6]


def test_without_examples_a_lead_is_students_t():
    values = [0.01, 0.03, -0.005, 0.02]
    found = lead(values, (), 100)
    test = scipy.stats.ttest_1samp(values, 0)
    expected = (np.mean(values), *test.confidence_interval(), test.pvalue, 4)
    assert found == pytest.approx(expected)
    assert found == lead(values, (), 1)  # one example has no interval
    assert np.isnan(lead([0.1], (), 100)[1:4]).all()
    assert lead([0.0, 0.0], [(0.0, 0.0)] * 2, 100) == (0, 0, 0, 1, 2)


def test_a_lead_over_seeds_and_examples_has_both_variances():
    # Standard errors over 50 examples: 0.01 downwards and 0.03 upwards; the sd over 3 seeds is 0.02.
    t = scipy.stats.t.ppf(0.975, 49)
    values = [0.03, 0.05, 0.07]
    found = lead(values, [(value - 0.01 * t, value + 0.03 * t) for value in values], 50)
    for end, se in ((found.low, 0.01), (found.high, 0.03)):
        rows, seeds = se**2, 0.02**2 / 3
        df = (rows + seeds) ** 2 / (rows**2 / 49 + seeds**2 / 2)
        assert abs(end - 0.05) == pytest.approx(math.sqrt(rows + seeds) * scipy.stats.t.ppf(0.975, df))
        if se == 0.01:
            assert found.p_value == pytest.approx(2 * scipy.stats.t.sf(0.05 / math.sqrt(rows + seeds), df))
    assert (found.p_value < 0.05) == (found.low > 0)


@pytest.mark.parametrize("mean", np.linspace(-0.1, 0.1, 9))
def test_the_p_value_and_the_interval_of_a_lead_agree(mean):
    found = lead([mean - 0.02, mean, mean + 0.02], [(mean - 0.04, mean + 0.05)] * 3, 200)
    assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)


def test_the_interval_over_seeds_and_examples_holds_both():
    labels = np.random.default_rng(0).integers(0, 2, 400)
    alike = [noisy_classes(400, 0.8)[0]] * 4  # no seeds: that over examples
    labels = noisy_classes(400, 0.8)[1]
    only_rows = two_way_interval(METRICS["matthews_correlation"], alike, labels)
    single = bootstrap_interval(METRICS["matthews_correlation"], alike[0], labels)
    assert (only_rows.low, only_rows.high) == pytest.approx(single[:2], abs=0.01)
    # Seeds that differ: both variances, less what is in both, each with its quantile (a mean of four accuracies).
    rng = np.random.default_rng(1)
    sides = [np.where(rng.random(400) < rate, labels, 1 - labels) for rate in (0.6, 0.7, 0.8, 0.9)]
    found = two_way_interval(METRICS["accuracy"], sides, labels)
    hits = np.array([side == labels for side in sides], dtype=float)
    rows, seeds = hits.mean(axis=0).var() / 400, hits.mean(axis=1).var(ddof=1) / 4
    both = (hits.var(axis=1).mean() / 400 - rows) / 3
    half = math.hypot(scipy.stats.t.ppf(0.975, 399) * math.sqrt(rows - both), scipy.stats.t.ppf(0.975, 3) * seeds**0.5)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    difference = two_way_interval(METRICS["accuracy"], sides, labels, baseline=sides)
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)


def test_seeds_of_opposite_classes_have_the_interval_over_seeds_within_the_bounds_of_the_metric():
    """Their mean is the same on every resample, so that the examples say nothing about it."""
    labels = np.arange(100) < 70
    sides = [np.full(100, one) for one in (1, 0, 1, 0)]
    found = two_way_interval(METRICS["accuracy"], sides, labels.astype(int))
    half = scipy.stats.t.ppf(0.975, 3) * 0.4 / math.sqrt(3) / 2
    # Beside it stands, of each seed, that its other class may be predicted rightly once.
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.01)
    two = two_way_interval(METRICS["accuracy"], sides[:2], labels.astype(int))
    assert (two.low, two.high) == (0, 1)


@pytest.mark.parametrize(
    ("case", "metric", "n"),
    [
        (coverage.ROWS[0], "matthews_correlation", 50),
        (coverage.ROWS[1], "accuracy", 277),
        (coverage.GROUPS[0], "f1_macro", 50),
        (coverage.SEEDS[0], "accuracy", 277),
        (coverage.PAIR[0], "accuracy, A − B", 50),
    ],
)
def test_intervals_hold_the_true_score(case, metric, n):
    # Of 150 intervals of 95% at most 15 miss in 99.8 of 100 trials; benchmarks/coverage.py draws more.
    assert 0.9 <= coverage.cell(case, metric, n, 150) <= 1
