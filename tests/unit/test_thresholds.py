"""Thresholds against an exhaustive search with scikit-learn, and their way through a run's files to predictions."""

import numpy as np
import pytest
import sklearn.metrics as sk

from bertlab.data.labels import REGRESSION, SINGLE, LabelSchema
from bertlab.errors import UserError
from bertlab.evaluation import thresholds
from bertlab.evaluation.evaluate import SplitResult, class_probabilities, predictions_from_logits
from bertlab.inference.inference_config import InferenceConfig
from bertlab.inference.predictor import Predictor
from bertlab.report import misclassified, results, scores

TWO = LabelSchema(SINGLE, ("bad", "good"), {})


def random_column(seed, n=60):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    return np.round(np.clip(0.3 * labels + rng.random(n) * 0.7, 0, 1), 1 + seed % 2), labels  # ties


def fit_one(text, column, labels):
    return thresholds.fit(np.asarray(column)[:, None], np.asarray(labels)[:, None], thresholds.parse(text))[0]


def cost(labels, predicted):
    (_, false_positive), (false_negative, _) = sk.confusion_matrix(labels, predicted, labels=[0, 1])
    return (1 * false_positive + 5 * false_negative) / len(labels)


ORACLES = {
    "f1": lambda y, p: sk.f1_score(y, p, zero_division=0),
    "f2": lambda y, p: sk.fbeta_score(y, p, beta=2, zero_division=0),
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "matthews_correlation": sk.matthews_corrcoef,
    "cost=1:5": cost,
}


@pytest.mark.parametrize("text", ORACLES)
@pytest.mark.parametrize("seed", range(4))
def test_a_threshold_is_as_good_as_an_exhaustive_search(text, seed):
    column, labels = random_column(seed)
    found, oracle = fit_one(text, column, labels), ORACLES[text]
    best = (min if oracle is cost else max)(oracle(labels, column >= cut) for cut in [*np.unique(column), 2.0])
    assert oracle(labels, column >= found.threshold) == pytest.approx(best) == pytest.approx(found.score)
    assert found.score_at_half == pytest.approx(oracle(labels, column >= 0.5))


@pytest.mark.parametrize(("kind", "other"), [("precision", sk.recall_score), ("recall", sk.precision_score)])
@pytest.mark.parametrize("seed", range(4))
def test_a_least_precision_or_recall_is_kept_at_the_best_of_the_other(kind, other, seed):
    column, labels = random_column(seed, n=200)
    least = {"precision": sk.precision_score, "recall": sk.recall_score}[kind]
    found = fit_one(f"{kind}=0.6", column, labels)
    cuts = [cut for cut in np.unique(column) if least(labels, column >= cut) >= 0.6]
    best = max(other(labels, column >= cut) for cut in cuts)
    assert found.is_reached and least(labels, column >= found.threshold) >= 0.6
    assert other(labels, column >= found.threshold) == pytest.approx(best) == pytest.approx(found.score)


def test_a_precision_that_none_reaches_comes_as_near_as_it_can():
    found = fit_one("precision=0.9", [0.9, 0.8, 0.7, 0.2], [0, 1, 1, 0])
    assert not found.is_reached and found.threshold == pytest.approx(0.45)  # two of three


def test_where_a_false_alarm_costs_too_much_none_is_predicted():
    found = fit_one("cost=9:1", [1.0, 0.2], [0, 1])
    assert found.threshold > 1.0 and found.score == 0.5
    assert fit_one("cost=1:9", [0.3, 0.2], [1, 0]).threshold == pytest.approx(0.25)


def test_thresholds_lie_midway_and_decisions_without_positives_keep_a_half():
    probabilities = np.array([[0.9, 0.9, 0.2], [0.4, 0.1, 0.3], [0.2, 0.1, 0.4]])
    labels = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1]])
    found = thresholds.fit(probabilities, labels, thresholds.parse("f1"))
    assert [one.threshold for one in found] == pytest.approx([0.3, 0.5, 0.1])


def test_a_threshold_between_neighbouring_floats_keeps_the_lower_one_out():
    lower = 0.5
    for _ in range(4):
        upper = np.nextafter(lower, 1.0)
        assert lower < fit_one("f1", [upper, lower], [1, 0]).threshold <= upper
        lower = upper


def test_equally_good_thresholds_take_the_nearest_to_a_half():
    # Cut above 0.6: one of one right, one missed, F1 2/3; cut at the bottom: two of four, F1 2/3.
    assert fit_one("f1", [0.8, 0.6, 0.58, 0.3], [1, 0, 0, 1]).threshold == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("text", "schema", "message"),
    [
        ("balanced_acuracy", TWO, "no metric of decisions has this name. Did you mean 'balanced_accuracy'"),
        ("recall", TWO, "it is best where all, or few, are predicted. Name what to reach: recall=0.95."),
        ("roc_auc", TWO, "no metric of decisions has this name"),
        ("mse", TWO, "no metric of decisions has this name"),
        ("f1_samples", TWO, "no metric of decisions has this name"),
        ("precision=95", TWO, "not understood. Write a metric"),
        ("cost=5", TWO, "not understood"),
        ("cost=0:0", TWO, "not understood"),
        ("f1=0.5", TWO, "not understood"),
        ("f1", LabelSchema(SINGLE, ("a", "b", "c"), {}), "two classes or several labels, not for 3 classes"),
        ("f1", LabelSchema(REGRESSION, (), {}), "two classes or several labels, not for regression"),
    ],
)
def test_what_is_no_threshold_is_refused(text, schema, message):
    with pytest.raises(UserError, match=message):
        thresholds.check(text, schema)


class Words(Predictor):
    """A predictor of given probabilities."""

    def forward(self, batch):
        raise NotImplementedError


@pytest.mark.parametrize("positive", ["bad", "good"])
def test_the_threshold_of_two_classes_goes_from_the_selection_split_to_predictions(positive, tmp_path, capsys):
    schema = LabelSchema(SINGLE, ("bad", "good"), {}, positive_label=positive)
    dice = np.random.default_rng(0)
    labels = (dice.random(400) < 0.25).astype(int)
    logits = (dice.normal(0, 1.5, (400, 2)) + 2 * np.eye(2)[labels] + [1, 0]).astype(np.float32)
    split = SplitResult("s", "s", logits, predictions_from_logits(schema, logits), labels, {})
    fitted = results.fit(split, schema, "f1")
    index = schema.class_names.index(positive)
    column = class_probabilities(schema, logits, fitted.temperature)[:, index]
    assert fitted.thresholds.sum() == pytest.approx(1)
    best = max(sk.f1_score(labels == index, column >= cut) for cut in column)
    decided = results.with_fitted(split, schema, fitted, ("f1",))
    assert (decided.predictions == np.where(column >= fitted.thresholds[index], index, 1 - index)).all()
    assert decided.metrics["f1"] == pytest.approx(best)
    assert fitted.threshold == {
        "criterion": "f1",
        "scored_by": "f1",
        "rows": 400,
        "classes": {
            positive: {
                "threshold": fitted.thresholds[index],
                "score": pytest.approx(best),
                "score_at_half": pytest.approx(sk.f1_score(labels == index, column >= 0.5)),
                "is_reached": True,
            }
        },
    }
    (sentence,) = scores.thresholds({"threshold": fitted.threshold})
    assert sentence.startswith(f"Threshold of {positive!r}: {fitted.thresholds[index]:.3f}, fitted on 400 selection")
    config = InferenceConfig(schema.class_names, thresholds=tuple(fitted.thresholds))
    predictor = Words(tokenizer=None, config=InferenceConfig.from_metadata(config_metadata(config)))
    names = predictor.labels(class_probabilities(schema, logits, fitted.temperature))
    assert names == [schema.class_names[k] for k in decided.predictions]
    _, confidence = misclassified.rank(decided, schema, fitted.temperature)
    assert confidence == pytest.approx(np.where(decided.predictions == index, column, 1 - column))
    assert capsys.readouterr().err == ""


def config_metadata(config):
    return {**config.to_metadata(), "max_seq_length": "9"}


def test_few_examples_are_named_and_three_classes_have_no_threshold(capsys):
    dice = np.random.default_rng(0)
    logits = dice.normal(size=(60, 2)).astype(np.float32)
    labels = (np.arange(60) < 4).astype(int)
    split = SplitResult("s", "s", logits, labels, labels, {})
    assert results.fit(split, TWO, "precision=0.95").thresholds is not None
    err = capsys.readouterr().err
    assert "fewer than 10 selection examples are 'good': such thresholds are uncertain" in err
    assert "--threshold precision=0.95: no threshold of 'good' reaches it; the one that comes nearest is used" in err
    assert results.fit(split, TWO).thresholds is None
    tiny = SplitResult("s", "s", logits[:20], labels[:20], labels[:20], {})
    assert results.fit(tiny, TWO, "f1") == results.Fitted()
    assert "temperature and thresholds are not fitted: the selection split has fewer than 50" in capsys.readouterr().err


def test_many_thresholds_are_counted():
    found = {"criterion": "f1", "scored_by": "f1", "rows": 90, "classes": {key: {} for key in "abcdefgh"}}
    assert scores.thresholds({"threshold": found}) == [
        "Thresholds of 8 labels, fitted on 90 selection examples by F1; results.json has them."
    ]
    assert scores.thresholds({}) == []
