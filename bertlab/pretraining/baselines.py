"""What a next-sentence model must beat: the majority, word overlap, and itself before training."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertlab.console import warning
from bertlab.data.labels import NO_LABEL
from bertlab.evaluation import baselines

Pairs = Sequence[Sequence[str]]
# Enough to fit three weights; more rows change the third digit.
TRAINING_PAIRS = 20_000
# Below this chance of going so far against the labels without any tie to them, these are said to look flipped.
FLIP_P_VALUE = 1e-4


def sample_rows(rows: int, seed: int = 0) -> np.ndarray:
    """Return the numbers of at most TRAINING_PAIRS random training pairs, in order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:TRAINING_PAIRS])


def overlap_baseline(
    train: Pairs, train_labels: np.ndarray, splits: Mapping[str, Pairs]
) -> tuple[dict[str, np.ndarray], str]:
    """Fit logistic regression on the TF-IDF likeness of two segments and their lengths; predict every split.

    `train` and each split are [first segments, second segments]. Returns class ids per split and a sentence on how
    they were made. The likeness is the cosine of TF-IDF vectors of words, whose weights come from the training text;
    without a word in it there are lengths alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    started = time.perf_counter()
    if len(np.unique(train_labels)) < 2:
        return {name: np.full(len(pairs[0]), train_labels[0]) for name, pairs in splits.items()}, "one class only"
    first, second = train
    vectorizer = _vectorizer([*first, *second])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(_features(vectorizer, first, second), train_labels)
    said = {name: model.predict(_features(vectorizer, *columns)) for name, columns in splits.items()}
    features = "TF-IDF likeness and lengths" if vectorizer else "no words in the texts, so lengths alone"
    note = f"{features}, logistic regression on {len(train_labels):,} training pairs"
    return said, f"{note}, {time.perf_counter() - started:.1f} s"


def frequency_baseline(
    train: Sequence[Sequence[int]], split: Sequence[Sequence[int]], special: Sequence[int], vocabulary: int
) -> dict[str, float]:
    """Return what a guess by token frequency alone scores on masked words: accuracy and perplexity.

    `train` and `split` are rows of token ids below `vocabulary`. The accuracy is that of always guessing the most
    frequent training token; the perplexity that of the training frequencies, where a token that is not there counts
    once. Both are over all tokens of the split but the `special` ones, any of which may be masked.
    """
    seen, asked = (np.bincount(np.concatenate(rows), minlength=vocabulary) for rows in (train, split))
    seen[list(special)] = asked[list(special)] = 0
    if not seen.any() or not asked.any():
        return {"most_frequent_token_accuracy": float("nan"), "token_frequency_perplexity": float("nan")}
    probabilities = np.maximum(seen, 1) / np.maximum(seen, 1).sum()
    shares = asked / asked.sum()
    return {
        "most_frequent_token_accuracy": float(shares[seen.argmax()]),
        "token_frequency_perplexity": float(np.exp(-(shares * np.log(probabilities)).sum())),
    }


def warn_if_flipped(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of a pretrained head before training, and say so if its answers go against the labels.

    By Fisher's exact test of labels and answers, one-sided. Accuracy below one half would not do: a head that says
    IsNext of nearly all is often wrong where NotNext is more than half.
    """
    from scipy.stats import fisher_exact

    known = labels != NO_LABEL
    if not known.any():
        return float("nan")
    labels, predictions = labels[known], predictions[known]
    table = np.array([[np.sum((labels == label) & (predictions == said)) for said in (0, 1)] for label in (0, 1)])
    # "less": IsNext is said less often of the pairs that follow.
    if fisher_exact(table, alternative="less").pvalue < FLIP_P_VALUE:
        follow, others = table[:, 0] / table.sum(axis=1)
        warning(
            f"the pretrained next-sentence head says IsNext of {follow:.1%} of the IsNext pairs and of {others:.1%} "
            "of the NotNext pairs: the labels look flipped (0 must be IsNext, 1 NotNext)."
        )
    return float(np.mean(predictions == labels))


def _vectorizer(texts: Sequence[str]) -> Any:
    """Return a TF-IDF vectorizer fitted on texts, or None when there is no word in them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=baselines.TOKEN).fit(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return None


def _features(vectorizer: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Return likeness, if there is a vectorizer, and the two lengths of pairs: (n, 2 or 3)."""
    lengths = [np.log1p([len(text.split()) for text in column]) for column in (first, second)]
    if vectorizer is None:
        return np.column_stack(lengths)
    one, two = vectorizer.transform(first), vectorizer.transform(second)
    return np.column_stack([np.asarray(one.multiply(two).sum(axis=1)).reshape(-1), *lengths])
