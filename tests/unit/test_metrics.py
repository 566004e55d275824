"""The metrics against scikit-learn and scipy, at their edges, and through `evaluate` without network or cache."""

import functools
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from bertlab.data.labels import MULTI, REGRESSION, SINGLE
from bertlab.errors import UserError
from bertlab.evaluation.metrics import GREATER_IS_BETTER, METRICS, Predicted, check_metrics

SAMPLES = 2


def of_counts(function, average, **options):
    """scikit-learn's name for no average is "binary", of which several labels have micro."""

    def oracle(p, y):
        chosen = average or ("micro" if y.ndim == 2 else "binary")
        return function(y, p, average=chosen, zero_division=0, **options)

    return oracle


def of_ranking(function, average):
    def oracle(p, y):
        if y.ndim == 1:
            p, y = (p, np.eye(p.shape[1])[y]) if average else (p[:, 1], y)
        return function(y, p, average=average or "micro")

    return oracle


def log_loss(p, y):
    # Of several labels scikit-learn has none; it is the mean of theirs.
    columns = [(y, p)] if y.ndim == 1 else zip(y.T, p.T, strict=True)
    return np.mean([sk.log_loss(actual, forecast) for actual, forecast in columns])


def brier_score(p, y):
    if y.ndim == 2:
        return np.mean([sk.brier_score_loss(actual, forecast) for actual, forecast in zip(y.T, p.T, strict=True)])
    return sk.brier_score_loss(y, p[:, 1] if p.shape[1] == 2 else p)


AVERAGED = {
    "f1": sk.f1_score,
    "f0.5": functools.partial(sk.fbeta_score, beta=0.5),
    "f2": functools.partial(sk.fbeta_score, beta=2),
    "precision": sk.precision_score,
    "recall": sk.recall_score,
}
RANKED = {"roc_auc": sk.roc_auc_score, "average_precision": sk.average_precision_score}
ORACLES = {
    "matthews_correlation": lambda p, y: sk.matthews_corrcoef(y, p),
    "accuracy": lambda p, y: sk.accuracy_score(y, p),
    "balanced_accuracy": lambda p, y: sk.balanced_accuracy_score(y, p),
    "cohen_kappa": lambda p, y: sk.cohen_kappa_score(y, p),
    "quadratic_kappa": lambda p, y: sk.cohen_kappa_score(y, p, weights="quadratic"),
    "log_loss": log_loss,
    "brier_score": brier_score,
    "pearson": lambda p, y: scipy.stats.pearsonr(p, y).statistic,
    "spearmanr": lambda p, y: scipy.stats.spearmanr(p, y).statistic,
    "r2": lambda p, y: sk.r2_score(y, p),
    "mse": lambda p, y: sk.mean_squared_error(y, p),
    "rmse": lambda p, y: sk.root_mean_squared_error(y, p),
    "mae": lambda p, y: sk.mean_absolute_error(y, p),
}
for average in ("", "macro", "micro", "weighted", "samples"):
    for name, function in AVERAGED.items():
        ORACLES[f"{name}_{average}".rstrip("_")] = of_counts(function, average)
    for name, function in RANKED.items():
        ORACLES[f"{name}_{average}".rstrip("_")] = of_ranking(function, average)
LOWER_IS_BETTER = ["log_loss", "brier_score", "mse", "rmse", "mae"]


def random_data(metric, problem_type, seed, n=257):
    """Predictions, or probabilities in steps of 1/64 (ties), and labels; of several labels no row lacks either kind."""
    rng = np.random.default_rng(seed)
    if problem_type == REGRESSION:
        labels = np.round(rng.uniform(0, 5, n) * 4) / 4  # ties, as in STS-B
        return labels + rng.normal(size=n), labels
    shape = (n, 7) if problem_type == MULTI else (n,)
    classes = 2 if metric.two_classes or problem_type == MULTI else 6
    labels = rng.integers(0, classes, shape)
    if problem_type == MULTI:
        labels[:, 0], labels[:, 1] = 1, 0
        labels[::2] = labels[::2, ::-1]
    if not metric.of_probabilities:
        return np.where(rng.random(shape) < 0.6, labels, rng.integers(0, classes, shape)), labels
    columns = labels if problem_type == MULTI else np.eye(classes)[labels]
    scores = np.round(rng.uniform(0.05, 0.95, columns.shape) * 32 + columns * 8) / 42
    return scores if problem_type == MULTI else scores / scores.sum(axis=1, keepdims=True), labels


CASES = [(name, kind) for name in ORACLES for kind in METRICS[name].problem_types]
DATA = [(name, *random_data(METRICS[name], kind, seed)) for name, kind in CASES for seed in range(SAMPLES)]


def test_every_metric_has_an_oracle_and_a_direction():
    assert set(METRICS) < set(ORACLES)
    assert set(GREATER_IS_BETTER) == {*METRICS, "loss", "perplexity"}
    assert [name for name, up in GREATER_IS_BETTER.items() if not up] == [*LOWER_IS_BETTER, "loss", "perplexity"]
    assert len(DATA) == len(CASES) * SAMPLES == 158


def test_the_name_of_f_beta_gives_beta():
    predictions, labels = random_data(METRICS["f1"], SINGLE, 0)
    for beta in (1.5, 3, 10):
        assert METRICS[f"f{beta}"](predictions, labels) == pytest.approx(sk.fbeta_score(labels, predictions, beta=beta))
    assert METRICS["f1.0"](predictions, labels) == METRICS["f1"](predictions, labels)
    for name in ("f0", "f2_mean", "f", "f-1", "f2_"):
        assert name not in METRICS


@pytest.mark.parametrize(("name", "predictions", "labels"), DATA)
def test_equals_the_oracle_and_does_not_depend_on_order(name, predictions, labels):
    score = METRICS[name](predictions, labels)
    assert score == pytest.approx(ORACLES[name](predictions, labels), abs=1e-12)
    order = np.random.default_rng(0).permutation(len(labels))
    assert METRICS[name](predictions[order], labels[order]) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(("name", "predictions", "labels"), DATA)
def test_a_weighted_score_is_the_score_of_the_repeated_examples(name, predictions, labels):
    draws = np.random.default_rng(1).integers(0, len(labels), (4, len(labels)))
    weights = np.stack([np.bincount(draw, minlength=len(labels)) for draw in draws]).astype(float)
    expected = [METRICS[name](predictions[draw], labels[draw]) for draw in draws]
    assert METRICS[name].weighted(predictions, labels, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_examples_score_nan(name, kind):
    empty = np.zeros((0, 3) if kind == MULTI else 0)
    predicted = np.zeros((0, 3)) if METRICS[name].of_probabilities else empty
    assert np.isnan(METRICS[name](predicted, empty))


UNDEFINED = [
    ("matthews_correlation", [1, 1, 1], [0, 1, 1]),
    ("matthews_correlation", [0, 1, 1], [1, 1, 1]),
    ("matthews_correlation", [1], [1]),
    ("f1", [0, 0], [0, 0]),
    ("precision", [0, 0], [1, 0]),
    ("recall", [1, 0], [0, 0]),
    ("f1_macro", [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ("f1_micro", [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ("f1_samples", [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    ("pearson", [0.1] * 7, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
    ("pearson", [1.0, 2.0, 3.0], [0.3, 0.3, 0.3]),
    ("spearmanr", [0.1] * 3, [1.0, 2.0, 3.0]),
    ("spearmanr", [1.0], [2.0]),
    ("r2", [1.0, 2.0], [0.3, 0.3]),
    ("cohen_kappa", [1, 1], [1, 1]),
    ("quadratic_kappa", [1, 1], [1, 1]),
    ("average_precision", [[0.4, 0.6]], [0]),
    ("average_precision_macro", [[0.4, 0.6]], [[0, 0]]),
    ("average_precision_samples", [[0.4, 0.6]], [[0, 0]]),
]


@pytest.mark.parametrize(("name", "predictions", "labels"), UNDEFINED)
def test_what_is_undefined_is_zero_without_a_warning(name, predictions, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert METRICS[name](predictions, labels) == 0.0


@pytest.mark.filterwarnings("error")
def test_one_class_alone_has_no_correlation_under_weights_that_are_not_whole():
    random = np.random.default_rng(0)
    weights = random.dirichlet(np.ones(50), 200) * 50
    predictions, labels = np.ones(50, dtype=int), random.integers(0, 2, 50)
    scores = METRICS["matthews_correlation"].weighted(predictions, labels, weights)
    assert (scores == 0).all()


def test_what_cannot_be_ranked_scores_as_chance_and_is_left_out_of_means():
    ranked, single = np.array([[0.9, 0.2], [0.1, 0.3]]), np.array([0, 0])
    assert METRICS["roc_auc"](ranked, single) == 0.5
    assert METRICS["roc_auc_macro"](ranked, np.array([[1, 0], [0, 0]])) == 1.0  # of the first label alone
    assert METRICS["roc_auc_samples"](ranked, np.array([[0, 1], [1, 1]])) == 0.0  # of the first row alone
    assert METRICS["average_precision_macro"](ranked, np.array([[0, 0], [1, 0]])) == 0.5


def test_kappa_counts_distances_in_class_ids():
    near, far, labels = [0, 1, 2, 4], [0, 1, 2, 0], [0, 1, 2, 5]
    options = {"labels": range(6), "weights": "quadratic"}
    for predictions in (near, far):
        expected = sk.cohen_kappa_score(labels, predictions, **options)
        assert METRICS["quadratic_kappa"](predictions, labels) == pytest.approx(expected)


def test_a_wrong_certainty_has_a_finite_log_loss_and_two_classes_half_a_brier_score():
    assert METRICS["log_loss"]([[1.0, 0.0]], [1]) == pytest.approx(sk.log_loss([1], [[1.0, 0.0]], labels=[0, 1]))
    assert METRICS["brier_score"]([[1.0, 0.0]], [1]) == METRICS["brier_score"]([[1.0]], [[0]]) == 1.0
    assert METRICS["brier_score"]([[1.0, 0.0, 0.0]], [1]) == 2.0


def test_bounds_are_reached_exactly():
    values = np.array([0.1, 0.7, 1.3, 1e9])
    for name in ("pearson", "spearmanr"):
        assert METRICS[name](values, values) == pytest.approx(1.0, abs=1e-12)
        assert METRICS[name](-values, values) == pytest.approx(-1.0, abs=1e-12)
    labels = np.arange(40) % 2
    assert METRICS["matthews_correlation"](labels, labels) == 1.0
    assert METRICS["matthews_correlation"](1 - labels, labels) == -1.0
    assert METRICS["spearmanr"](np.arange(7), np.arange(7)) == 1.0
    assert METRICS["accuracy"]([[1, 0], [1, 1]], [[1, 0], [1, 0]]) == 0.5


def test_pearson_survives_a_large_offset_and_passes_nan_on():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100))
    assert METRICS["pearson"](x + 1e6, y * 1e-9) == pytest.approx(METRICS["pearson"](x, y), abs=1e-8)
    x[3] = np.nan
    assert all(np.isnan(METRICS[name](x, y)) for name in ("pearson", "spearmanr", "mse"))


@pytest.mark.parametrize(
    ("name", "predictions", "labels"), [("accuracy", [0, 1], [0, 1, 1]), ("log_loss", [[0.5, 0.5]], [0, 1])]
)
def test_wrong_shapes_are_refused(name, predictions, labels):
    with pytest.raises(ValueError, match="do not match"):
        METRICS[name](predictions, labels)


@pytest.mark.parametrize(("problem_type", "classes"), [(SINGLE, 2), (SINGLE, 3), (MULTI, 28), (REGRESSION, 1)])
def test_the_metrics_that_are_proposed_for_a_task_are_taken(problem_type, classes):
    other = "mae" if problem_type != REGRESSION else "accuracy"
    with pytest.raises(UserError) as refused:
        check_metrics([other], problem_type, classes)
    proposed = refused.value.hint.removeprefix("Choose from: ").removesuffix(".").split(", ")
    check_metrics(proposed, problem_type, classes)
    assert ("f1" in proposed) == ((problem_type, classes) in ((SINGLE, 2), (MULTI, 28)))


def test_check_metrics_refuses_before_training():
    check_metrics(["matthews_correlation", "f1"], SINGLE, 2)
    check_metrics(["accuracy", "f1_samples"], MULTI, 28)
    check_metrics(["pearson", "spearmanr", "mse"], REGRESSION, 1)
    with pytest.raises(UserError, match=r"there is no metric 'spearman'. Did you mean 'spearmanr'"):
        check_metrics(["spearman"], REGRESSION, 1)
    with pytest.raises(UserError, match=r"pearson is for regression, and this task is single_label.*accuracy"):
        check_metrics(["pearson"], SINGLE, 2)
    for name in ("precision", "f1", "f0.5", "roc_auc"):
        with pytest.raises(UserError, match=f"one class of two, and this task has 3 classes. Use {name}_macro."):
            check_metrics([name], SINGLE, 3)
        check_metrics([f"{name}_macro"], SINGLE, 3)


def test_evaluate_metrics_give_the_same_scores():
    from bertlab.evaluation.hf_metrics import compute

    for name, kind in CASES:
        predictions, labels = random_data(METRICS[name], kind, 0)
        assert compute([name], Predicted(predictions, predictions), labels) == {
            name: METRICS[name](predictions, labels)
        }


def test_compute_takes_what_a_trainer_gives():
    from bertlab.evaluation.hf_metrics import compute

    labels = np.array([[1, 0], [0, 1]], dtype=np.float32)  # transformers wants float labels for multi-label
    expected = {"accuracy": 1.0, "f1_micro": 1.0, "roc_auc": 1.0, "log_loss": pytest.approx(0, abs=1e-12)}
    assert compute(list(expected), Predicted(labels.astype(bool), labels), labels) == expected
    halves = np.array([0.5, 1.5, 2.5], dtype=np.float16)
    assert compute(["mse", "pearson"], Predicted(halves, halves), halves) == {"mse": 0.0, "pearson": pytest.approx(1.0)}


def test_compute_without_examples_or_names():
    from bertlab.evaluation.hf_metrics import compute

    empty = compute(["accuracy", "f1"], Predicted(np.zeros(0), np.zeros((0, 2))), np.zeros(0))
    assert list(empty) == ["accuracy", "f1"]
    assert np.isnan(list(empty.values())).all()
    assert compute([], Predicted(np.ones(1), np.ones((1, 2))), [1]) == {}


def test_the_light_modules_import_nothing_heavy():
    code = (
        "import sys\nfrom bertlab.evaluation import baselines, calibration, metrics, statistics\n"
        "print(sorted({'evaluate', 'sklearn', 'scipy', 'torch', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
