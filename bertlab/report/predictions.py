"""predictions/<split>.tsv: one row per input row, in its order."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, LabelSpace
from bertlab.evaluation.evaluate import SplitResult, probabilities
from bertlab.io import write_text
from bertlab.report.spreadsheet import guarded

# Several labels of one row in one cell.
LABEL_SEPARATOR = "|"


def write(folder: Path, result: SplitResult, space: LabelSpace, indices: Sequence[int], temperature: float) -> Path:
    """Write idx, label, prediction and one probability column per class; return the path.

    Probabilities are those of the calibrated model: softmax of the logits over `temperature`.
    """
    header = ["idx", "label", "prediction", *(f"probability_{name}" for name in space.class_names)]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(_rows(result, space, indices, temperature))
    path = folder / "predictions" / f"{result.name}.tsv"
    write_text(path, stream.getvalue())
    return path


def label_name(label: Any, space: LabelSpace) -> str:
    """Return a label or prediction as text: a class name, names joined by |, a number, or nothing if unknown."""
    if space.kind == REGRESSION:
        return "" if label != label else f"{float(label):.9g}"
    if space.kind == MULTI:
        if label[0] == NO_LABEL:
            return ""
        return LABEL_SEPARATOR.join(n for n, on in zip(space.class_names, label, strict=True) if on)
    return "" if label == NO_LABEL else space.class_names[int(label)]


def _rows(
    result: SplitResult, space: LabelSpace, indices: Sequence[int], temperature: float
) -> Iterator[list[str | int]]:
    regression = space.kind == REGRESSION
    chances = np.zeros((len(result.logits), 0)) if regression else probabilities(space, result.logits, temperature)
    for row, index in enumerate(indices):
        truth = "" if result.labels is None else label_name(result.labels[row], space)
        said = label_name(result.predictions[row], space)
        yield [index, guarded(truth), guarded(said), *(f"{p:.6f}" for p in chances[row])]
