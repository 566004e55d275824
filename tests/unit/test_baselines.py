"""The baselines on made-up texts: what they predict, how they keep to their time, and how they describe it."""

import numpy as np
import pytest

from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation import baselines
from bertlab.evaluation.baselines import constant_baseline
from bertlab.evaluation.evaluate import predictions_from_outputs
from bertlab.evaluation.metrics import METRICS
from bertlab.report import results

WORDS = np.array([f"word{i}" for i in range(60)])


def sentences(n, seed=0):
    """Sentences of six words, and whether each holds one of the first ten words."""
    draws = np.random.default_rng(seed).integers(0, 60, (n, 6))
    return [" ".join(WORDS[row]) for row in draws], (draws < 10).any(axis=1).astype(int)


def schema_of(kind, classes):
    return LabelSchema(kind, tuple("abcdef"[:classes]), {})


def tfidf_baseline(texts, labels, splits, kind=SINGLE, classes=2, **options):
    """Predictions and not probabilities, but of regression."""
    schema = schema_of(kind, classes)
    outputs, note = baselines.tfidf_baseline(
        lambda rows: [texts[row] for row in rows], labels, splits, schema, **options
    )
    return {name: predictions_from_outputs(schema, rows) for name, rows in outputs.items()}, note


def test_the_constant_is_the_frequency_of_each_class_or_label():
    frequencies = constant_baseline([2, 1, 1, 0], 2, schema_of(SINGLE, 4))
    assert frequencies.tolist() == [[0.25, 0.5, 0.25, 0]] * 2
    assert constant_baseline([1, 0], 3, schema_of(SINGLE, 2)).argmax(axis=1).tolist() == [0, 0, 0]
    labels = [[1, 0], [1, 1], [0, 0]]
    assert constant_baseline(labels, 2, schema_of(MULTI, 2)) == pytest.approx(np.array([[2 / 3, 1 / 3]] * 2))
    assert constant_baseline([1], 0, schema_of(SINGLE, 2)).shape == (0, 2)


def test_the_constant_frequencies_have_the_least_log_loss():
    labels = np.array([0, 0, 0, 1, 2])
    loss = METRICS["log_loss"]
    found = constant_baseline(labels, 5, schema_of(SINGLE, 3))
    others = np.random.default_rng(0).dirichlet([3, 1, 1], 50)
    assert all(loss(found, labels) <= loss(np.tile(other, (5, 1)), labels) for other in others)


@pytest.mark.parametrize(
    ("kind", "labels", "how"),
    [
        (SINGLE, np.array([0, 1, 1]), "always the most frequent training class"),
        (MULTI, np.array([[1, 0], [1, 1], [0, 0]]), "each label that at least half of the training examples have"),
    ],
)
def test_the_majority_baseline_is_explained(kind, labels, how):
    schema = LabelSchema(kind, ("a", "b"), {})
    found = results.baseline_predictions(lambda rows: ["x y", "y", "z"], labels, {"test": ["x"]}, schema)
    assert found["majority"][1] == how


def test_mean_has_the_least_squared_error():
    values = np.array([0.0, 1.0, 5.0])
    constant = constant_baseline(values, 3, schema_of(REGRESSION, 0))
    errors = [METRICS["mse"](constant + shift, values) for shift in (-0.1, 0.0, 0.1)]
    assert constant.tolist() == [2.0, 2.0, 2.0]
    assert min(errors) == errors[1]


def test_tfidf_learns_which_words_decide():
    texts, labels = sentences(900)
    splits = {"validation": texts[600:800], "test": texts[800:]}
    predictions, note = tfidf_baseline(texts[:600], labels[:600], splits)
    assert {split: rows.shape for split, rows in predictions.items()} == {"validation": (200,), "test": (100,)}
    assert METRICS["accuracy"](predictions["validation"], labels[600:800]) > 0.75 > labels.mean()
    assert note.startswith("TF-IDF of words and word pairs with logistic regression on all 600 training rows, ")


def test_pairs_are_read_on_both_sides():
    texts, labels = sentences(400)
    pairs = [("filler", text) for text in texts]
    predictions, _ = tfidf_baseline(pairs, labels, {"test": pairs, "first": [("filler", None)]})
    assert METRICS["accuracy"](predictions["test"], labels) > 0.9
    assert predictions["first"].shape == (1,)


def test_multi_label_predicts_a_column_per_label():
    texts, labels = sentences(400)
    columns = np.column_stack([labels, 1 - labels, np.zeros_like(labels), np.ones_like(labels)])
    splits = {"test": texts, "empty": []}
    predictions, _ = tfidf_baseline(texts, columns.astype(np.float32), splits, MULTI, 4)
    assert METRICS["f1_macro"](predictions["test"][:, :2], columns[:, :2]) > 0.9
    assert set(predictions["test"][:, 2]) == {0}
    assert set(predictions["test"][:, 3]) == {1}
    assert predictions["empty"].shape == (0, 4)
    predictions, _ = tfidf_baseline(texts, columns[:, :1], splits, MULTI, 1)
    assert predictions["test"].shape == (400, 1)


def test_regression_is_ridge():
    texts, labels = sentences(400)
    predictions, note = tfidf_baseline(texts, labels * 5, {"test": texts}, REGRESSION)
    assert METRICS["pearson"](predictions["test"], labels * 5.0) > 0.8
    assert "ridge regression on all 400" in note


def test_too_little_time_is_noted_and_every_row_is_predicted():
    texts, labels = sentences(2000)
    predictions, note = tfidf_baseline(texts, labels, {"test": texts[:300]}, seconds=0)
    assert "on a random 500 of the 2,000 training rows" in note
    assert "(more would not fit into the 0 s of processor time allowed)" in note
    assert predictions["test"].shape == (300,)
    again, _ = tfidf_baseline(texts, labels, {"test": texts[:300]}, seconds=0)
    assert (again["test"] == predictions["test"]).all()


def test_the_part_grows_for_as_long_as_the_next_one_fits(monkeypatch):
    clock = [0.0]
    sizes = []

    def fit(texts, labels, schema):
        sizes.append(len(texts))
        clock[0] += len(texts) / 1000
        return (lambda rows: np.zeros((len(rows), 2))), "A stand-in"

    monkeypatch.setattr(baselines, "_fit", fit)
    monkeypatch.setattr(baselines.time, "process_time", lambda: clock[0])
    texts, labels = sentences(40_000)
    tfidf_baseline(texts, labels, {"test": texts[:5]}, seconds=30)
    assert sizes[:3] == [500, 2000, 8000]
    assert 8000 < sizes[3] < 40_000
    assert clock[0] <= 30
    assert "on all 40,000 training rows" in tfidf_baseline(texts, labels, {}, seconds=300)[1]


def test_a_class_without_training_rows_has_no_probability():
    schema = schema_of(SINGLE, 4)
    outputs, _ = baselines.tfidf_baseline(lambda rows: ["a x", "b y"], [3, 1], {"test": ["a x", "b y"]}, schema)
    assert outputs["test"].argmax(axis=1).tolist() == [3, 1]
    assert outputs["test"][:, [0, 2]].tolist() == [[0, 0]] * 2 and outputs["test"].sum(axis=1) == pytest.approx(1)


def test_one_class_and_no_words_fall_back_to_a_constant():
    predictions, note = tfidf_baseline(["a b", "c"], [3, 3], {"test": ["x"]}, classes=4)
    assert predictions["test"].tolist() == [3]
    assert note.startswith("One class only, predicted for every row, on all 2 training rows")
    predictions, note = tfidf_baseline(["...", "!"], [1, 0], {"test": ["?"]})
    assert predictions["test"].tolist() == [0]
    assert note.startswith("No words in the texts")


def test_ideographs_are_words_of_their_own():
    texts = ["我很高兴 ok", "今天很难过", "高兴", "难过 a"] * 10
    predictions, _ = tfidf_baseline(texts, [1, 0, 1, 0] * 10, {"test": ["他高兴", "他难过"]})
    assert predictions["test"].tolist() == [1, 0]
