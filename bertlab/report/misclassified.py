"""misclassified/<split>.tsv: wrong predictions, most confident first; in regression the largest errors."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION, LabelSchema
from bertlab.evaluation.evaluate import SplitResult, class_probabilities
from bertlab.io import escape_formula, write_text
from bertlab.report.predictions import label_name

HEADER = ("idx", "label", "prediction", "confidence", "tokens", "truncated", "text", "text_pair")
# The column that replaces the confidence in regression.
ERROR = "absolute_error"
# The fraction of the examples that is listed in regression.
WORST_FRACTION = 0.1


def write(
    folder: Path, result: SplitResult, schema: LabelSchema, rows: dict[str, Sequence[Any]], temperature: float
) -> Path:
    """Write the misclassified examples of one split and return the path.

    `rows` has idx, text, perhaps text_pair, full_length and length by row.
    """
    misclassified, confidence = rank(result, schema, temperature)
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow([ERROR if name == "confidence" and schema.kind == REGRESSION else name for name in HEADER])
    for row in misclassified.tolist():
        assert result.labels is not None
        pair = rows["text_pair"][row] if "text_pair" in rows else ""
        writer.writerow(
            [
                rows["idx"][row],
                safe_cell(label_name(result.labels[row], schema)),
                safe_cell(label_name(result.predictions[row], schema)),
                f"{confidence[row]:.4f}",
                rows["full_length"][row],
                "yes" if rows["full_length"][row] > rows["length"][row] else "no",
                safe_cell(rows["text"][row]),
                safe_cell(pair),
            ]
        )
    path = folder / "misclassified" / f"{result.name}.tsv"
    write_text(path, stream.getvalue())
    return path


def rank(result: SplitResult, schema: LabelSchema, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the misclassified rows, most confident first, and a confidence (or error) for every row.

    The confidence is the probability of the predicted class; for multi-label, the highest probability of a wrong
    decision; in regression it is the absolute error, and the worst tenth of the rows are returned.
    """
    labelled = result.labelled()
    assert result.labels is not None
    if schema.kind == REGRESSION:
        error = np.where(labelled, np.abs(result.predictions - np.nan_to_num(result.labels)), -1.0)
        return np.argsort(-error, kind="stable")[: max(1, int(labelled.sum() * WORST_FRACTION))], error
    probabilities = class_probabilities(schema, result.logits, temperature)
    if schema.kind == MULTI:
        wrong_labels = result.predictions != result.labels
        certainty = np.where(result.predictions == 1, probabilities, 1 - probabilities)
        confidence = np.where(wrong_labels, certainty, 0.0).max(axis=1)
        wrong = wrong_labels.any(axis=1)
    else:
        confidence = probabilities.max(axis=1)
        wrong = result.predictions != result.labels
    rows = np.flatnonzero(wrong & labelled)
    return rows[np.argsort(-confidence[rows], kind="stable")], confidence


def safe_cell(text: str) -> str:
    """Return text on one line that a spreadsheet shows and does not run."""
    return escape_formula(" ".join(str(text).split()))
