"""A text in which nothing says what follows gives no score above chance, whatever the policy and the classifier."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import binomtest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from bertlab.cli.arguments import NspArguments
from bertlab.pretraining import pairs
from bertlab.pretraining.baselines import overlap_baseline
from bertlab.pretraining.pairs import Policy
from bertlab.pretraining.sentences import write_sentences

DOCUMENTS = 1200
POLICIES = [
    Policy(kind, scope, target_tokens=30)
    for kind in ("all", "one_per_document", "segments")
    for scope in ("other_document", "same_document", "any")
    if (kind, scope) != ("one_per_document", "same_document")
]
Texts = list[list[str]]


def _sentence(dice: random.Random, style: str, longest: int) -> str:
    return " ".join(f"{style}{dice.randrange(40)}" for _ in range(dice.randint(2, longest)))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Documents whose first sentence has words and a length of its own; all sentences are drawn independently."""
    dice = random.Random(7)
    folder = tmp_path_factory.mktemp("drawn")
    documents = (
        "\n".join([_sentence(dice, "q", 6), *(_sentence(dice, "a", 14) for _ in range(dice.randint(1, 7)))])
        for _ in range(DOCUMENTS)
    )
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return write_sentences(
        [folder / "text.txt"], NspArguments(document_unit="block", sentence_splitter="line"), folder / "text.arrow"
    )


def _words(column: int) -> Callable[[Texts, np.ndarray, Texts], np.ndarray]:
    def predict(train: Texts, labels: np.ndarray, held_out: Texts) -> np.ndarray:
        model = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=50))
        return np.asarray(model.fit(train[column], labels).predict(held_out[column]))

    return predict


def _overlap(train: Texts, labels: np.ndarray, held_out: Texts) -> np.ndarray:
    return overlap_baseline(train, labels, {"held_out": held_out})[0]["held_out"].argmax(axis=1)


def _lengths(train: Texts, labels: np.ndarray, held_out: Texts) -> np.ndarray:
    def features(texts: Texts) -> np.ndarray:
        first, second = (np.array([len(text) for text in column]) for column in texts)
        return np.column_stack([first, second, first + second, first - second])

    tree = DecisionTreeClassifier(max_leaf_nodes=16, min_samples_leaf=40, random_state=0)
    return np.asarray(tree.fit(features(train), labels).predict(features(held_out)))


CLASSIFIERS = {"first_alone": _words(0), "second_alone": _words(1), "overlap": _overlap, "lengths": _lengths}


def _made(sentences: Dataset, path: Path, policy: Policy, documents: np.ndarray) -> tuple[Texts, np.ndarray]:
    table = pairs.make_pairs(sentences, path, policy, documents=documents, seed=3)
    return pairs.pair_texts(sentences, table[:]), np.array(table["label"][:])


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.pairs}-{policy.negatives}")
def test_no_classifier_beats_chance_where_nothing_says_what_follows(policy: Policy, sentences: Dataset, tmp_path: Path):
    half = np.arange(DOCUMENTS // 2)
    train, labels = _made(sentences, tmp_path / "train.arrow", policy, half)
    held_out, truth = _made(sentences, tmp_path / "held_out.arrow", policy, half + DOCUMENTS // 2)
    assert len(truth) > 300
    assert abs(truth.mean() - 0.5) < 0.01
    for name, predict in CLASSIFIERS.items():
        right = int((predict(train, labels, held_out) == truth).sum())
        interval = binomtest(right, len(truth)).proportion_ci(0.999)
        assert interval.low < 0.5 < interval.high, f"{name}: {right} of {len(truth)}"


def test_a_second_segment_drawn_from_all_sentences_would_be_told_alone(sentences: Dataset, tmp_path: Path):
    """What the exchange replaces: the test above sees it."""
    rng = np.random.default_rng(0)
    every = sentences["sentence"][:]

    def drawn(path: Path, documents: np.ndarray) -> tuple[Texts, np.ndarray]:
        (first, second), labels = _made(sentences, path, POLICIES[0], documents)
        texts = [every[rng.integers(len(every))] if n else text for text, n in zip(second, labels, strict=True)]
        return [first, texts], labels

    train, labels = drawn(tmp_path / "train.arrow", np.arange(DOCUMENTS // 2))
    held_out, truth = drawn(tmp_path / "held_out.arrow", np.arange(DOCUMENTS // 2, DOCUMENTS))
    right = int((_words(1)(train, labels, held_out) == truth).sum())
    assert binomtest(right, len(truth)).proportion_ci(0.999).low > 0.5
