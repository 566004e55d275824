"""Calibration against cases worked by hand, an exhaustive search and logits scaled by a known temperature."""

import math
import warnings

import numpy as np
import pytest
import scipy.special
import sklearn.metrics as sk

from bertlab.data.labels import MULTI, SINGLE, LabelSchema
from bertlab.evaluation import calibration
from bertlab.evaluation.calibration import (
    TEMPERATURE_BOUNDS,
    fit_temperature,
    reliability_table,
    sigmoid,
    softmax,
)
from bertlab.evaluation.evaluate import SplitResult, class_probabilities, compute_metrics, predictions_from_logits
from bertlab.report import results


def expected_calibration_error(*arguments, **options):
    return calibration.expected_calibration_error(reliability_table(*arguments, **options))


def calibrated(n=20_000, classes=3, seed=0):
    """Logits, and class ids drawn from exactly their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2.0, size=(n, classes))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, labels


def test_softmax_and_sigmoid_are_stable_and_right():
    logits = np.array([[1000.0, 0.0], [-1000.0, -1000.0], [0.3, -0.7]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert softmax(logits) == pytest.approx(scipy.special.softmax(logits.astype(float), axis=1))
        assert sigmoid(logits) == pytest.approx(scipy.special.expit(logits.astype(float)))
    assert softmax(logits).dtype == sigmoid(logits).dtype == np.float64
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


def test_calibration_error_by_hand():
    # Two bins: confidences 0.6 and 0.8 are both in (0.5, 1], one of two right: |0.7 - 0.5| = 0.2.
    probabilities = [[0.6, 0.4], [0.2, 0.8]]
    assert expected_calibration_error(probabilities, [0, 0], bins=2) == pytest.approx(0.2)
    # Ten bins: one each, |0.6 - 1| / 2 + |0.8 - 0| / 2 = 0.6.
    assert expected_calibration_error(probabilities, [0, 0], bins=10) == pytest.approx(0.6)


def test_reliability_table_has_every_bin_and_every_example():
    table = reliability_table([[0.0, 1.0], [0.5, 0.5], [0.45, 0.55]], [1, 0, 0], bins=4)
    assert [(row["low"], row["high"], row["count"]) for row in table] == [
        (0.0, 0.25, 0),
        (0.25, 0.5, 1),
        (0.5, 0.75, 1),
        (0.75, 1.0, 1),
    ]
    assert (table[3]["confidence"], table[3]["accuracy"]) == (1.0, 1.0)
    assert (table[2]["confidence"], table[2]["accuracy"]) == (0.55, 0.0)
    assert math.isnan(table[0]["confidence"])
    assert math.isnan(table[0]["accuracy"])


def test_probabilities_on_an_edge_are_in_the_lower_bin():
    for bins in (3, 10, 15):
        edges = np.linspace(0, 1, bins + 1)[1:]
        edges = edges[edges >= 0.5]
        for row in reliability_table(np.column_stack([edges, 1 - edges]), np.zeros(len(edges), dtype=int), bins):
            assert row["count"] == int(row["high"] >= 0.5)


def test_calibrated_probabilities_have_a_small_error_and_scaled_ones_a_large():
    logits, labels = calibrated()
    assert expected_calibration_error(softmax(logits), labels) < 0.015
    assert expected_calibration_error(softmax(logits * 4), labels) > 0.1


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    logits, labels = calibrated()
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_lowers_the_loss_and_keeps_the_classes():
    logits, labels = calibrated(500)
    scaled = logits * 3 / fit_temperature(logits * 3, labels)
    assert sk.log_loss(labels, softmax(scaled)) < sk.log_loss(labels, softmax(logits * 3))
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_a_temperature_for_multi_label():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(5000, 4))
    labels = (rng.random(logits.shape) < sigmoid(logits)).astype(int)
    assert fit_temperature(logits * 2.0, labels) == pytest.approx(2.0, rel=0.05)


def test_separable_and_random_logits_stay_within_the_bounds():
    low, high = TEMPERATURE_BOUNDS
    separable = fit_temperature([[5.0, 0.0], [0.0, 5.0]], [0, 1])
    wrong = fit_temperature([[5.0, 0.0], [0.0, 5.0]], [1, 0])
    assert low <= separable < 1 < wrong <= high


def test_thresholds_are_those_of_the_probabilities_that_are_written():
    """Logits three times too large: a threshold fitted on raw probabilities would not fit calibrated ones."""
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 2, (300, 2))
    logits = 3 * (dice.normal(0, 2, labels.shape) + 2 * labels - 1)
    schema = LabelSchema(MULTI, ("a", "b"), {})
    result = SplitResult("selection", "selection", logits, predictions_from_logits(schema, logits), labels, {})
    fitted = results.fit(result, schema)
    assert fitted.temperature > 1.5 and not np.allclose(fitted.thresholds, 0.5)
    predictions = results.with_fitted(result, schema, fitted, ("f1_micro",)).predictions
    assert (predictions == (class_probabilities(schema, logits, fitted.temperature) >= fitted.thresholds)).all()


def test_scores_of_probabilities_are_of_the_calibrated_ones_and_of_the_positive_class():
    logits, labels = calibrated(n=400, classes=2)
    schema = LabelSchema(SINGLE, ("bad", "good"), {}, positive_label="bad")
    names = ("average_precision", "log_loss", "f1")
    predictions = predictions_from_logits(schema, logits)
    metrics = compute_metrics(schema, names, logits, labels)
    raw = SplitResult("validation", "eval", logits, predictions, labels, metrics)
    fitted = results.Fitted(2.5, None, 100)
    found = results.with_fitted(raw, schema, fitted, names)
    entry = results.split_results(found, schema, names, fitted, {}, None, None)["metrics"]
    probabilities = softmax(logits / 2.5)
    assert entry["average_precision"]["value"] == pytest.approx(
        sk.average_precision_score(labels == 0, probabilities[:, 0])
    )
    assert entry["log_loss"]["value"] == pytest.approx(sk.log_loss(labels, probabilities))
    assert metrics["log_loss"] == pytest.approx(sk.log_loss(labels, softmax(logits)))
    assert entry["f1"]["value"] == metrics["f1"] == pytest.approx(sk.f1_score(labels, predictions, pos_label=0))
    assert all(one["low"] < one["value"] < one["high"] for one in entry.values())
