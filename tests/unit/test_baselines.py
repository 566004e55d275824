"""The baselines on made-up texts: what they predict, how they keep to their time, and how they describe it."""

import numpy as np
import pytest

from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation import baselines
from bertlab.evaluation.baselines import majority_baseline, mean_baseline
from bertlab.evaluation.metrics import METRICS
from bertlab.report import results

WORDS = np.array([f"word{i}" for i in range(60)])


def sentences(n, seed=0):
    """Sentences of six words, and whether each holds one of the first ten words."""
    draws = np.random.default_rng(seed).integers(0, 60, (n, 6))
    return [" ".join(WORDS[row]) for row in draws], (draws < 10).any(axis=1).astype(int)


def tfidf_baseline(texts, *arguments, **options):
    return baselines.tfidf_baseline(lambda rows: [texts[row] for row in rows], *arguments, **options)


def test_majority_is_the_most_frequent_class():
    assert majority_baseline([2, 1, 1], 2).tolist() == [1, 1]
    assert majority_baseline([1, 0], 3).tolist() == [0, 0, 0]
    assert majority_baseline([[1, 0], [1, 1], [0, 0]], 2).tolist() == [[1, 0], [1, 0]]
    assert majority_baseline([1], 0).shape == (0,)


@pytest.mark.parametrize(
    ("kind", "labels", "how"),
    [
        (SINGLE, np.array([0, 1, 1]), "always the most frequent training class"),
        (MULTI, np.array([[1, 0], [1, 1], [0, 0]]), "each label that more than half of the training examples have"),
    ],
)
def test_the_majority_baseline_is_explained(kind, labels, how):
    schema = LabelSchema(kind, ("a", "b"), {})
    found = results.baseline_predictions(lambda rows: ["x y", "y", "z"], labels, {"test": ["x"]}, schema)
    assert found["majority"][1] == how


def test_mean_has_the_least_squared_error():
    values = np.array([0.0, 1.0, 5.0])
    errors = [METRICS["mse"](mean_baseline(values, 3) + shift, values) for shift in (-0.1, 0.0, 0.1)]
    assert mean_baseline(values, 2).tolist() == [2.0, 2.0]
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
    predictions, _ = tfidf_baseline(texts, columns.astype(np.float32), splits, problem_type=MULTI)
    assert METRICS["f1_macro"](predictions["test"][:, :2], columns[:, :2]) > 0.9
    assert set(predictions["test"][:, 2]) == {0}
    assert set(predictions["test"][:, 3]) == {1}
    assert predictions["empty"].shape == (0, 4)
    predictions, _ = tfidf_baseline(texts, columns[:, :1], splits, problem_type=MULTI)
    assert predictions["test"].shape == (400, 1)


def test_regression_is_ridge():
    texts, labels = sentences(400)
    predictions, note = tfidf_baseline(texts, labels * 5, {"test": texts}, problem_type=REGRESSION)
    assert METRICS["pearson"](predictions["test"], labels * 5.0) > 0.8
    assert "ridge regression on all 400" in note


def test_too_little_time_is_noted_and_every_row_is_predicted():
    texts, labels = sentences(2000)
    predictions, note = tfidf_baseline(texts, labels, {"test": texts[:300]}, seconds=0)
    assert "on a random 500 of the 2,000 training rows (more would not fit into the 0 s allowed)" in note
    assert predictions["test"].shape == (300,)
    again, _ = tfidf_baseline(texts, labels, {"test": texts[:300]}, seconds=0)
    assert (again["test"] == predictions["test"]).all()


def test_the_part_grows_for_as_long_as_the_next_one_fits(monkeypatch):
    clock = [0.0]
    sizes = []

    def fit(texts, labels, problem_type):
        sizes.append(len(texts))
        clock[0] += len(texts) / 1000
        return (lambda rows: np.zeros(len(rows), dtype=int)), "A stand-in"

    monkeypatch.setattr(baselines, "_fit", fit)
    monkeypatch.setattr(baselines.time, "perf_counter", lambda: clock[0])
    texts, labels = sentences(40_000)
    tfidf_baseline(texts, labels, {"test": texts[:5]}, seconds=30)
    assert sizes[:3] == [500, 2000, 8000]
    assert 8000 < sizes[3] < 40_000
    assert clock[0] <= 30
    assert "on all 40,000 training rows" in tfidf_baseline(texts, labels, {}, seconds=300)[1]


def test_one_class_and_no_words_fall_back_to_a_constant():
    predictions, note = tfidf_baseline(["a b", "c"], [3, 3], {"test": ["x"]})
    assert predictions["test"].tolist() == [3]
    assert note.startswith("One class only, predicted for every row, on all 2 training rows")
    predictions, note = tfidf_baseline(["...", "!"], [1, 0], {"test": ["?"]})
    assert predictions["test"].tolist() == [0]
    assert note.startswith("No words in the texts")


def test_ideographs_are_words_of_their_own():
    texts = ["我很高兴 ok", "今天很难过", "高兴", "难过 a"] * 10
    predictions, _ = tfidf_baseline(texts, [1, 0, 1, 0] * 10, {"test": ["他高兴", "他难过"]})
    assert predictions["test"].tolist() == [1, 0]
