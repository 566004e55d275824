"""How the probabilities of a classifier rank the examples of a split: the numbers of its curves, by scikit-learn."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bertlab.report.predictions import split_labels
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import positive_class

# Curves of this many classes are drawn one by one; those of more classes as one.
CURVE_CLASSES = 6
# So many points draw a curve as well as one point an example would.
COVERAGE_POINTS = 200

Array = npt.NDArray[np.float64]


class Decisions(NamedTuple):
    """Yes or no of one class, or of all: who has it, its probability, and who was predicted to have it, (n,) each."""

    truth: npt.NDArray[np.bool_]
    probability: Array
    predicted: npt.NDArray[np.bool_]


class Curve(NamedTuple):
    """The points of a curve, the area under it, and the point (x, y) of the predictions that were made."""

    x: Array
    y: Array
    area: float
    operating_point: tuple[float, float]


def decisions(folder: RunFolder, split: str) -> dict[str, Decisions]:
    """Return the decisions on the labelled examples of a split by class, one class against the others.

    There are none in regression, and where an example without label looks like one that has no class.

    Raises:
        UserError: the predictions cannot be read.
    """
    rows = folder.predictions(split)
    labelled = rows.labelled(folder.scored[split]["labelled"])
    if folder.is_regression or labelled is None:
        return {}
    names = folder.class_names
    read = (lambda cell: split_labels(cell, names)) if folder.is_multi_label else (lambda cell: [cell])
    truth, predicted = ([set(read(cell)) for cell in column] for column in (rows.labels, rows.predictions))
    return {
        name: Decisions(
            np.asarray([name in row for row in truth])[labelled],
            rows.probabilities[name][labelled],
            np.asarray([name in row for row in predicted])[labelled],
        )
        for name in names
    }


def is_ranked(one: Decisions) -> bool:
    """Return True where there is something to rank: an example of the class, and one of the others."""
    return bool(one.truth.any() and not one.truth.all())


def drawn(folder: RunFolder, by_class: Mapping[str, Decisions]) -> dict[str, Decisions]:
    """Return the decisions that curves are drawn of: the positive class of two, each of a few, or all together."""
    positive = positive_class(folder.results)
    if positive is not None and by_class:
        return {positive: by_class[positive]}
    if len(by_class) <= CURVE_CLASSES:
        return dict(by_class)
    return {"all classes (micro average)": Decisions(*map(np.concatenate, zip(*by_class.values(), strict=True)))}


def roc(one: Decisions) -> Curve:
    """Return true positive rate by false positive rate, both of which need an example; the area is ROC AUC."""
    from sklearn.metrics import roc_auc_score, roc_curve

    x, y, _ = roc_curve(one.truth, one.probability)
    point = float(one.predicted[~one.truth].mean()), float(one.predicted[one.truth].mean())
    return Curve(x, y, float(roc_auc_score(one.truth, one.probability)), point)


def precision_recall(one: Decisions) -> Curve:
    """Return precision by recall, which needs a positive example; the area is average precision."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(one.truth, one.probability, drop_intermediate=True)
    correct = one.truth[one.predicted].mean() if one.predicted.any() else np.nan
    point = float(one.predicted[one.truth].mean()), float(correct)
    return Curve(recall, precision, float(average_precision_score(one.truth, one.probability)), point)


def coverage(by_class: Mapping[str, Decisions], is_multi_label: bool) -> tuple[npt.NDArray[np.int64], Array]:
    """Return numbers of most confident predictions, and how many of each are correct.

    A prediction is that of an example, with the probability of its class as confidence; in multi-label data it is a yes
    or no. Equally confident predictions are kept or left out together.
    """
    truth, probability, predicted = (np.stack(side, axis=1) for side in zip(*by_class.values(), strict=True))
    if is_multi_label:
        confidence, correct = np.where(predicted, probability, 1 - probability).ravel(), (truth == predicted).ravel()
    else:
        confidence, correct = (probability * predicted).sum(axis=1), (truth & predicted).any(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-1.0))
    chosen = ends[np.unique(np.linspace(0, len(ends) - 1, COVERAGE_POINTS).round().astype(int))]
    return chosen + 1, np.cumsum(correct[order], dtype=np.float64)[chosen]
