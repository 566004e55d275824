"""Baselines that a model must beat: the most frequent class, the mean, and a linear model on TF-IDF features."""

import importlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertlab.data.labels import MULTI, REGRESSION, SINGLE, LabelSchema
from bertlab.evaluation.metrics import Array

Text = str | Sequence[str | None]
Predictor = Callable[[Sequence[str]], Array]
# Row numbers to texts: what is on disk need not be held in memory.
TakeTexts = Callable[[Array], Sequence[Text]]

# TF-IDF may take this much processor time in all; it then says on how many examples it was fitted. On a busy machine
# time by the clock would mean fewer rows, and another score.
BASELINE_SECONDS = 20.0
FIRST_FIT_ROWS = 500
# A fit on four times the rows costs a little more than four times the seconds: the vocabulary grows with them.
LARGEST_STEP = 4.0
COST_EXPONENT = 1.2
# L-BFGS reads about 20 copies of the dense (classes, words) weights at every step: 160 MB for a million.
LARGEST_WEIGHTS = 1_000_000
# One token per CJK ideograph, as in BERT's own pre-tokenizer; other words are kept whole, one-letter words too.
TOKEN = r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+"


def constant_baseline(train_labels: npt.ArrayLike, rows: int, schema: LabelSchema) -> Array:
    """Return `rows` times the best constant.

    That is the frequency of each class among the training rows, (rows, classes) probabilities of which the most
    frequent class has the highest; or the mean training value, (rows,), which has the least squared error.
    """
    labels = np.asarray(train_labels)
    if schema.kind == REGRESSION:
        return np.full(rows, labels.mean(dtype=np.float64))
    counts = labels.sum(axis=0) if schema.kind == MULTI else np.bincount(labels, minlength=schema.size)
    return np.broadcast_to(counts / len(labels), (rows, schema.size))


def tfidf_baseline(
    take_texts: TakeTexts,
    train_labels: npt.ArrayLike,
    eval_texts_by_split: Mapping[str, Sequence[Text]],
    schema: LabelSchema,
    seconds: float = BASELINE_SECONDS,
) -> tuple[dict[str, Array], str]:
    """Fit TF-IDF of words and word pairs with a linear model; return its outputs per split, and how they were made.

    Texts are strings or pairs of strings, those to train on as a function of row numbers; labels are (n,) class ids or
    values, or (n, classes) arrays of 0 and 1. The outputs are probabilities (rows, classes), or values (rows,). The
    model is logistic regression, one per class for multi-label, or ridge regression, regularised as scikit-learn does
    by default: nothing is tuned. It is fitted on larger and larger samples of one shuffle, for as long as the next
    sample is expected to fit into `seconds`; the note gives their number of rows. Every row of every split is
    predicted.
    """
    labels = np.asarray(train_labels, dtype=np.float64 if schema.kind == REGRESSION else np.int64)
    started = time.process_time()
    predict, how, used = _largest_fit(take_texts, labels, schema, started + seconds)
    predictions = {name: predict([_joined(text) for text in texts]) for name, texts in eval_texts_by_split.items()}
    rows = f"all {used:,} training rows"
    if used < len(labels):
        rows = f"a random {used:,} of the {len(labels):,} training rows"
        rows += f" (more would not fit into the {seconds:g} s of processor time allowed)"
    return predictions, f"{how} on {rows}, {time.process_time() - started:.1f} s."


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(part for part in text if part)


def _largest_fit(take: TakeTexts, labels: Array, schema: LabelSchema, deadline: float) -> tuple[Predictor, str, int]:
    """Return the model fitted on the most rows that the deadline allows, its description, and that number of rows."""
    for module in ("sklearn.feature_extraction.text", "sklearn.linear_model"):
        importlib.import_module(module)  # its seconds are no part of the first fit
    order = np.random.default_rng(0).permutation(len(labels))
    size = min(FIRST_FIT_ROWS, len(labels))
    while True:
        started = time.process_time()
        # In the order of the file, so that a fit on all rows does not depend on the shuffle.
        part = np.sort(order[:size])
        predict, how = _fit([_joined(text) for text in take(part)], labels[part], schema)
        ended = time.process_time()
        spent, left = max(ended - started, 1e-6), max(deadline - ended, 0.0)
        growth = min(LARGEST_STEP, len(labels) / size, (left / spent) ** (1 / COST_EXPONENT))
        if size == len(labels) or (growth < 1.25 and growth * size < len(labels)):
            return predict, how, size
        size = min(len(labels), round(size * growth))


def _fit(texts: Sequence[str], labels: Array, schema: LabelSchema) -> tuple[Predictor, str]:
    """Return a predictor of texts and its description; without words or without two classes it is a constant."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    def constant(rows: Sequence[str]) -> Array:
        return constant_baseline(labels, len(rows), schema)

    if schema.kind == SINGLE and len(np.unique(labels)) < 2:
        return constant, "One class only, predicted for every row,"
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN, max_features=_max_features(labels, schema.kind)
    )
    estimator, how = _estimator(schema.kind)
    model = make_pipeline(vectorizer, estimator)
    try:
        # One BLAS thread: the sums of L-BFGS are short, and on two busy cores threads made the fit of 20 labels
        # on 500 rows 8 times slower.
        with threadpool_limits(1), warnings.catch_warnings():
            # A class that all or none of the rows have, or a fit short of full convergence, needs no warning here.
            warnings.simplefilter("ignore")
            model.fit(texts, labels)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return constant, "No words in the texts, so a constant"

    def predict(rows: Sequence[str]) -> Array:
        if not len(rows):  # which scikit-learn refuses
            return constant(rows)
        if schema.kind == REGRESSION:
            return np.asarray(model.predict(rows))
        probabilities = np.zeros((len(rows), schema.size))
        # A class may be in no training row. For a single label scikit-learn returns two columns, the second its own.
        columns = model.classes_ if schema.kind == SINGLE else slice(None)
        probabilities[:, columns] = model.predict_proba(rows)[:, -schema.size :]
        return probabilities

    return predict, how


def _max_features(labels: Array, problem_type: str) -> int:
    outputs = labels.shape[1] if labels.ndim == 2 else len(np.unique(labels))
    return max(1000, min(100_000, LARGEST_WEIGHTS if problem_type == REGRESSION else LARGEST_WEIGHTS // outputs))


def _estimator(problem_type: str) -> tuple[Any, str]:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier

    features = "TF-IDF of words and word pairs with"
    if problem_type == REGRESSION:
        return Ridge(), f"{features} ridge regression"
    logistic = LogisticRegression(max_iter=1000)
    if problem_type == MULTI:
        return OneVsRestClassifier(logistic), f"{features} one logistic regression per class"
    return logistic, f"{features} logistic regression"
