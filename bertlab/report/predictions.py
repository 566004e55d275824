"""predictions/<split>.tsv: one row per input row, in its order."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, LabelSchema
from bertlab.errors import UserError
from bertlab.evaluation.evaluate import SplitResult, class_probabilities
from bertlab.io import escape_formula, unescape_formula, write_text

if TYPE_CHECKING:
    import pandas as pd

# Between the labels of one example.
LABEL_SEPARATOR = "|"
# Begins the name of the column of each class's probability.
PROBABILITY = "probability_"


@dataclass(frozen=True)
class Predictions:
    """predictions/<split>.tsv by column; `probabilities` has a column (rows,) for each class, by its name."""

    idx: list[str]
    labels: list[str]
    predictions: list[str]
    probabilities: dict[str, np.ndarray]
    groups: list[str] | None

    def labelled(self, count: int) -> np.ndarray | None:
        """Return which rows have a label, of which there are `count`; None where rows of no class look like others."""
        labelled = np.array([bool(label) or count == len(self.labels) for label in self.labels])
        return labelled if labelled.sum() == count else None


def write(folder: Path, result: SplitResult, schema: LabelSchema, indices: Sequence[int], temperature: float) -> None:
    """Write idx, label, prediction, the number of the row's group where there are any, and each class's probability.

    Probabilities are those of the calibrated model: softmax of the logits over `temperature`.
    """
    labels = [""] * len(result.logits) if result.labels is None else label_names(result.labels, schema)
    columns: dict[str, Sequence[Any]] = {
        "idx": indices,
        "label": [escape_formula(name) for name in labels],
        "prediction": [escape_formula(name) for name in label_names(result.predictions, schema)],
    }
    if result.groups is not None:
        columns["group"] = result.groups.numbers.tolist()
    if schema.kind != REGRESSION:
        probabilities = class_probabilities(schema, result.logits, temperature).T
        for name, column in zip(schema.class_names, probabilities, strict=True):
            columns[PROBABILITY + name] = [f"{value:.9g}" for value in column]  # as much as float32 logits give
    write_tsv(folder / "predictions" / f"{result.name}.tsv", columns)


def read(folder: Path, split: str) -> Predictions:
    """Return the predictions of a run for one split.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    with reading(folder / "predictions" / f"{split}.tsv") as frame:
        labels, predictions = (list(map(unescape_formula, frame[name])) for name in ("label", "prediction"))
        columns = [name for name in frame.columns if name.startswith(PROBABILITY)]
        probabilities = {name.removeprefix(PROBABILITY): frame[name].to_numpy(dtype=np.float64) for name in columns}
        groups = frame["group"].tolist() if "group" in frame else None
        return Predictions(frame["idx"].tolist(), labels, predictions, probabilities, groups)


def label_names(labels: np.ndarray, schema: LabelSchema) -> list[str]:
    """Return labels or predictions as text: class names, joined by | for multi-label, numbers, "" where missing."""
    if schema.kind == REGRESSION:
        return ["" if np.isnan(label) else f"{label:.9g}" for label in labels]
    if schema.kind == MULTI:
        names = (itertools.compress(schema.class_names, row) if row[0] != NO_LABEL else () for row in labels)
        return [LABEL_SEPARATOR.join(row) for row in names]
    return ["" if label == NO_LABEL else schema.class_names[label] for label in labels]


def split_labels(text: str, class_names: Sequence[str]) -> list[str]:
    """Return the class names in a multi-label cell, which are in the order of `class_names`.

    Names that contain the separator themselves stay whole; text that is no class name is returned unchanged.
    """
    labels, rest = [], text
    for name in class_names:
        if rest == name or rest.startswith(name + LABEL_SEPARATOR):
            labels.append(name)
            rest = rest[len(name) + len(LABEL_SEPARATOR) :]
    return [*labels, rest] if rest else labels


def write_tsv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of one length under a header, tab-separated."""
    import pandas as pd  # takes longer to import than --help may take

    write_text(path, pd.DataFrame(columns).to_csv(sep="\t", index=False, lineterminator="\n"))


@contextlib.contextmanager
def reading(path: Path) -> Iterator["pd.DataFrame"]:
    """Return the file of `write_tsv` as text, for as long as its columns are read.

    Raises:
        UserError: the file is missing, or has not the columns and values that it should have.
    """
    import pandas as pd

    try:
        yield pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "The run is incomplete; train it again.") from error
