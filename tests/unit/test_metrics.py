"""The metrics against scikit-learn and scipy, at their edges, and through `evaluate` without network or cache."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sk

from bertlab.data.labels import MULTI, REGRESSION, SINGLE
from bertlab.errors import UserError
from bertlab.evaluation.metrics import GREATER_IS_BETTER, METRICS, check_metrics

SAMPLES = 5


def of_one_class_or_micro(function):
    return lambda p, y: function(y, p, average="micro" if y.ndim == 2 else "binary")


ORACLES = {
    "matthews_correlation": lambda p, y: sk.matthews_corrcoef(y, p),
    "accuracy": lambda p, y: sk.accuracy_score(y, p),
    "f1": of_one_class_or_micro(sk.f1_score),
    "precision": of_one_class_or_micro(sk.precision_score),
    "recall": of_one_class_or_micro(sk.recall_score),
    "f1_macro": lambda p, y: sk.f1_score(y, p, average="macro", zero_division=0),
    "f1_micro": lambda p, y: sk.f1_score(y, p, average="micro", zero_division=0),
    "precision_macro": lambda p, y: sk.precision_score(y, p, average="macro", zero_division=0),
    "recall_macro": lambda p, y: sk.recall_score(y, p, average="macro", zero_division=0),
    "f1_samples": lambda p, y: sk.f1_score(y, p, average="samples", zero_division=0),
    "pearson": lambda p, y: scipy.stats.pearsonr(p, y).statistic,
    "spearmanr": lambda p, y: scipy.stats.spearmanr(p, y).statistic,
    "mse": lambda p, y: sk.mean_squared_error(y, p),
}


def random_data(problem_type, two_classes, seed, n=257):
    rng = np.random.default_rng(seed)
    if problem_type == REGRESSION:
        labels = np.round(rng.uniform(0, 5, n) * 4) / 4  # ties, as in STS-B
        return labels + rng.normal(size=n), labels
    shape = (n, 7) if problem_type == MULTI else (n,)
    classes = 2 if two_classes or problem_type == MULTI else 6
    labels = rng.integers(0, classes, shape)
    return np.where(rng.random(shape) < 0.6, labels, rng.integers(0, classes, shape)), labels


CASES = [(name, kind) for name, row in METRICS.items() for kind in row.problem_types]
DATA = [(name, *random_data(kind, METRICS[name].two_classes, seed)) for name, kind in CASES for seed in range(SAMPLES)]


def test_every_metric_has_an_oracle_and_a_direction():
    assert set(ORACLES) == set(METRICS)
    assert set(GREATER_IS_BETTER) == {*METRICS, "loss", "perplexity"}
    assert [name for name, up in GREATER_IS_BETTER.items() if not up] == ["mse", "loss", "perplexity"]
    assert len(DATA) == len(CASES) * SAMPLES == 105


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
    assert np.isnan(METRICS[name](empty, empty))


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
]


@pytest.mark.parametrize(("name", "predictions", "labels"), UNDEFINED)
def test_what_is_undefined_is_zero_without_a_warning(name, predictions, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert METRICS[name](predictions, labels) == 0.0


def test_bounds_are_reached_exactly():
    values = np.array([0.1, 0.7, 1.3, 1e9])
    for name in ("pearson", "spearmanr"):
        assert METRICS[name](values, values) == pytest.approx(1.0, abs=1e-12)
        assert METRICS[name](-values, values) == pytest.approx(-1.0, abs=1e-12)
    assert METRICS["matthews_correlation"]([0, 1, 0], [1, 0, 1]) == -1.0
    assert METRICS["accuracy"]([[1, 0], [1, 1]], [[1, 0], [1, 0]]) == 0.5


def test_pearson_survives_a_large_offset_and_passes_nan_on():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 100))
    assert METRICS["pearson"](x + 1e6, y * 1e-9) == pytest.approx(METRICS["pearson"](x, y), abs=1e-8)
    x[3] = np.nan
    assert all(np.isnan(METRICS[name](x, y)) for name in ("pearson", "spearmanr", "mse"))


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        METRICS["accuracy"]([0, 1], [0, 1, 1])


def test_check_metrics_refuses_before_training():
    check_metrics(["matthews_correlation", "f1"], SINGLE, 2)
    check_metrics(["accuracy", "f1_samples"], MULTI, 28)
    check_metrics(["pearson", "spearmanr", "mse"], REGRESSION, 1)
    with pytest.raises(UserError, match=r"there is no metric 'spearman'. Did you mean 'spearmanr'"):
        check_metrics(["spearman"], REGRESSION, 1)
    with pytest.raises(UserError, match=r"pearson is for regression, and this task is single_label.*accuracy"):
        check_metrics(["pearson"], SINGLE, 2)
    with pytest.raises(UserError, match=r"one class of two, and this task has 3 classes. Use precision_macro."):
        check_metrics(["precision"], SINGLE, 3)


def test_evaluate_metrics_give_the_same_scores():
    from bertlab.evaluation.hf_metrics import compute

    for name, kind in CASES:
        predictions, labels = random_data(kind, METRICS[name].two_classes, 0)
        assert compute([name], predictions, labels) == {name: METRICS[name](predictions, labels)}


def test_compute_takes_what_a_trainer_gives():
    from bertlab.evaluation.hf_metrics import compute

    labels = np.array([[1, 0], [0, 1]], dtype=np.float32)  # transformers wants float labels for multi-label
    assert compute(["accuracy", "f1_micro"], labels.astype(bool), labels) == {"accuracy": 1.0, "f1_micro": 1.0}
    halves = np.array([0.5, 1.5, 2.5], dtype=np.float16)
    assert compute(["mse", "pearson"], halves, halves) == {"mse": 0.0, "pearson": pytest.approx(1.0)}


def test_compute_without_examples_or_names():
    from bertlab.evaluation.hf_metrics import compute

    empty = compute(["accuracy", "f1"], np.zeros(0), np.zeros(0))
    assert list(empty) == ["accuracy", "f1"]
    assert np.isnan(list(empty.values())).all()
    assert compute([], [1], [1]) == {}


def test_the_light_modules_import_nothing_heavy():
    code = (
        "import sys\nfrom bertlab.evaluation import baselines, calibration, metrics, statistics\n"
        "print(sorted({'evaluate', 'sklearn', 'scipy', 'torch', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
