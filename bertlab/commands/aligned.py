"""The predictions of several runs for the same labelled rows, as numbers that metrics take."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bertlab.errors import UserError
from bertlab.evaluation import statistics
from bertlab.evaluation.metrics import METRICS, Predicted
from bertlab.report.predictions import Predictions, split_labels
from bertlab.report.run_folder import RunFolder
from bertlab.report.scores import positive_class


class Aligned(NamedTuple):
    """What runs predicted for the labelled rows of one split, the labels, and the groups that are resampled."""

    predicted: list[Predicted]
    labels: np.ndarray
    groups: list[str] | None

    def two_way(self, metric: str, seeds: int) -> statistics.SeedSummary:
        """Return a mean over the first runs, one of each seed, or its difference from the others, with its 95% CI."""
        function = METRICS[metric]
        sides = [function.read(predicted) for predicted in self.predicted]
        return statistics.two_way_interval(function, sides[:seeds], self.labels, self.groups, sides[seeds:])


def aligned(runs: Sequence[RunFolder], split: str) -> Aligned:
    """Return what runs predicted for the labelled rows of a split, by the classes of the first; 1 is the positive one.

    Raises:
        UserError: rows or labels differ, and it says which and where; or rows without a label look like others.
    """
    found = _aligned(runs, split)
    if found is None:
        raise UserError(
            f"split {split}: rows without a label look like rows of no class.",
            "Compare on a split whose rows are all labelled.",
        )
    return found


def aligned_if_kept(runs: Sequence[RunFolder], split: str) -> Aligned | None:
    """Return the same where all runs kept their predictions of a scored split, in the same classes; else None.

    None too where rows without a label look like rows of no class.
    """
    kept = (
        split in run.scored
        and set(run.class_names) == set(runs[0].class_names)
        and (run.path / "predictions" / f"{split}.tsv").is_file()
        for run in runs
    )
    return _aligned(runs, split) if all(kept) else None


def _aligned(runs: Sequence[RunFolder], split: str) -> Aligned | None:
    first, read = runs[0], [run.predictions(split) for run in runs]
    for other in read[1:]:
        _refuse_other_labels(read[0], other, split)
    labelled = read[0].labelled(first.results["splits"][split]["labelled"])
    if labelled is None:
        return None
    sides = [Predicted(_values(first, side.predictions), _probabilities(first, side)).rows(labelled) for side in read]
    labels = _values(first, itertools.compress(read[0].labels, labelled))
    if positive := positive_class(first.results):  # F1, precision and recall are of class 1 of two
        index = first.class_names.index(positive)
        sides = [Predicted((p == index).astype(np.int64), shares[:, [1 - index, index]]) for p, shares in sides]
        labels = (labels == index).astype(np.int64)
    groups = next((own.groups for own in read if own.groups is not None), None)
    return Aligned(sides, labels, groups and list(itertools.compress(groups, labelled)))


def _refuse_other_labels(a: Predictions, b: Predictions, split: str) -> None:
    if len(a.idx) != len(b.idx):
        raise UserError(
            f"split {split}: A has {len(a.idx):,} rows and B {len(b.idx):,}.", "Score both on the same rows."
        )
    for what, left, right in (("idx", a.idx, b.idx), ("label", a.labels, b.labels)):
        differing = [row for row, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1]]
        if differing:
            row = differing[0]
            raise UserError(
                f"split {split}: {what} differs in {len(differing):,} of {len(left):,} rows, first in row {row + 1}: "
                f"{left[row]!r} in A and {right[row]!r} in B.",
                "Score both on the same rows with the same labels.",
            )


def _probabilities(run: RunFolder, predictions: Predictions) -> np.ndarray:
    """Return the probabilities (rows, classes) in the order that classes have in `run`; in regression the numbers."""
    if run.is_regression:
        return _values(run, predictions.predictions)
    return np.stack([predictions.probabilities[name] for name in run.class_names], axis=1)


def _values(run: RunFolder, written: Iterable[str]) -> np.ndarray:
    """Return labels or predictions as numbers, as the ids that classes have in `run`, or as 0 and 1 for each class."""
    column = list(written)
    if run.is_regression:
        return np.asarray([text or np.nan for text in column], dtype=np.float64)  # a model that diverged predicts none
    if run.is_multi_label:
        chosen = (split_labels(text, run.class_names) for text in column)
        return np.asarray([[name in names for name in run.class_names] for names in chosen], dtype=np.int64)
    return np.asarray([run.class_names.index(text) for text in column], dtype=np.int64)
