"""What a model must beat: word overlap and its pretrained head in NSP, token frequencies in MLM."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertlab.console import warning
from bertlab.evaluation import baselines

Pairs = Sequence[Sequence[str]]
# Enough to fit three weights; more rows change the third digit.
TRAINING_PAIRS = 20_000
# Labels look flipped if predictions that do not depend on them would so contradict them with a chance below this.
FLIP_P_VALUE = 1e-4


def sample_rows(rows: int, limit: int = TRAINING_PAIRS) -> np.ndarray:
    """Return the numbers of at most `limit` random pairs, in order."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:limit])


def overlap_baseline(
    train: Pairs, train_labels: np.ndarray, splits: Mapping[str, Pairs]
) -> tuple[dict[str, np.ndarray], str]:
    """Fit logistic regression on the TF-IDF similarity of two segments and their lengths; predict every split.

    `train` and each split are [first segments, second segments]. Returns probabilities (pairs, 2) per split and how
    they were made. The similarity is the cosine of TF-IDF vectors of words, whose weights come from the training text;
    without a word in it there are lengths alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    started = time.perf_counter()
    if len(np.unique(train_labels)) < 2:
        constant = np.eye(2)[train_labels[:1]]
        return {name: constant.repeat(len(pairs[0]), axis=0) for name, pairs in splits.items()}, "one class only"
    first, second = train
    vectorizer = _vectorizer([*first, *second])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(_features(vectorizer, first, second), train_labels)
    predictions = {name: model.predict_proba(_features(vectorizer, *columns)) for name, columns in splits.items()}
    features = "TF-IDF similarity and lengths" if vectorizer else "no words in the texts, so lengths alone"
    note = f"{features}, logistic regression on {len(train_labels):,} training pairs"
    return predictions, f"{note}, {time.perf_counter() - started:.1f} s"


def frequency_baseline(
    train: Sequence[Sequence[int]], split: Sequence[Sequence[int]], special: Sequence[int], vocabulary: int
) -> dict[str, float]:
    """Return the MLM scores of token frequencies alone: accuracy and perplexity.

    `train` and `split` are rows of token ids below `vocabulary`. The accuracy is that of always guessing the most
    frequent training token; the perplexity that of the training frequencies, where a token without occurrence counts
    once. Both are over all tokens of the split but the `special` ones, any of which may be masked.
    """
    train_counts, counts = (np.bincount(np.concatenate(rows), minlength=vocabulary) for rows in (train, split))
    train_counts[list(special)] = counts[list(special)] = 0
    if not train_counts.any() or not counts.any():
        return {"most_frequent_token_accuracy": float("nan"), "token_frequency_perplexity": float("nan")}
    probabilities = np.maximum(train_counts, 1) / np.maximum(train_counts, 1).sum()
    shares = counts / counts.sum()
    return {
        "most_frequent_token_accuracy": float(shares[train_counts.argmax()]),
        "token_frequency_perplexity": float(np.exp(-(shares * np.log(probabilities)).sum())),
    }


def warn_if_flipped(predictions: np.ndarray, labels: np.ndarray) -> None:
    """Warn if the predictions of a pretrained head before training contradict the labels.

    By Fisher's exact test of labels and predictions, one-sided. Accuracy below one half would not do: a head that
    predicts IsNext for nearly all is often wrong where NotNext is more than half.
    """
    from scipy.stats import fisher_exact

    table = np.zeros((2, 2), dtype=int)
    np.add.at(table, (labels, predictions), 1)
    # "less": IsNext is predicted less often for the pairs that follow.
    if fisher_exact(table, alternative="less").pvalue < FLIP_P_VALUE:
        follow, others = table[:, 0] / table.sum(axis=1)
        warning(
            f"the pretrained next-sentence head predicts IsNext for {follow:.1%} of the IsNext pairs and for "
            f"{others:.1%} of the NotNext pairs: the labels look flipped (0 must be IsNext, 1 NotNext)."
        )


def _vectorizer(texts: Sequence[str]) -> Any:
    """Return a TF-IDF vectorizer fitted on texts, or None if there is no word in them."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=baselines.TOKEN).fit(texts)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return None


def _features(vectorizer: Any, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Return the similarity, if there is a vectorizer, and the two lengths of pairs: (n, 2 or 3)."""
    lengths = [np.log1p([len(text.split()) for text in column]) for column in (first, second)]
    if vectorizer is None:
        return np.column_stack(lengths)
    products = vectorizer.transform(first).multiply(vectorizer.transform(second))
    return np.column_stack([np.asarray(products.sum(axis=1)).reshape(-1), *lengths])
