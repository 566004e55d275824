"""predictions/<split>.tsv: one row per input row, in its order."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, LabelSchema
from bertlab.evaluation.evaluate import SplitResult, class_probabilities
from bertlab.io import escape_formula, write_text

# Between the labels of one example.
LABEL_SEPARATOR = "|"


def write(folder: Path, result: SplitResult, schema: LabelSchema, indices: Sequence[int], temperature: float) -> Path:
    """Write idx, label, prediction and one probability column per class; return the path.

    Probabilities are those of the calibrated model: softmax of the logits over `temperature`.
    """
    header = ["idx", "label", "prediction", *(f"probability_{name}" for name in schema.class_names)]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(_rows(result, schema, indices, temperature))
    path = folder / "predictions" / f"{result.name}.tsv"
    write_text(path, stream.getvalue())
    return path


def label_name(label: Any, schema: LabelSchema) -> str:
    """Return a label or prediction as text: a class name, names joined by |, a number, or "" if it is missing."""
    if schema.kind == REGRESSION:
        return "" if label != label else f"{float(label):.9g}"
    if schema.kind == MULTI:
        if label[0] == NO_LABEL:
            return ""
        return LABEL_SEPARATOR.join(n for n, on in zip(schema.class_names, label, strict=True) if on)
    return "" if label == NO_LABEL else schema.class_names[int(label)]


def _rows(
    result: SplitResult, schema: LabelSchema, indices: Sequence[int], temperature: float
) -> Iterator[list[str | int]]:
    regression = schema.kind == REGRESSION
    probabilities = (
        np.zeros((len(result.logits), 0)) if regression else class_probabilities(schema, result.logits, temperature)
    )
    for row, index in enumerate(indices):
        label = "" if result.labels is None else label_name(result.labels[row], schema)
        prediction = label_name(result.predictions[row], schema)
        yield [index, escape_formula(label), escape_formula(prediction), *(f"{p:.6f}" for p in probabilities[row])]
