"""errors/<split>.tsv: what the model got wrong, most confident first; in regression what it is furthest off."""

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
# What stands in the place of the confidence in regression.
ERROR = "absolute_error"
# In regression the worst share of the rows counts as mistakes.
WORST_SHARE = 0.1


def write(
    folder: Path, result: SplitResult, schema: LabelSchema, rows: dict[str, Sequence[Any]], temperature: float
) -> Path:
    """Write the mistakes of one split; `rows` has idx, text, perhaps text_pair, full_length and length by row."""
    mistakes, confidence = rank(result, schema, temperature)
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow([ERROR if name == "confidence" and schema.kind == REGRESSION else name for name in HEADER])
    for row in mistakes.tolist():
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
    path = folder / "errors" / f"{result.name}.tsv"
    write_text(path, stream.getvalue())
    return path


def rank(result: SplitResult, schema: LabelSchema, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that are wrong, most confident first, and a confidence (or error) for every row.

    The confidence is the probability of the predicted class; of several labels, that of the wrong one it is surest
    of; in regression it is the absolute error, and the worst tenth are the mistakes.
    """
    known = result.labelled()
    assert result.labels is not None
    if schema.kind == REGRESSION:
        error = np.where(known, np.abs(result.predictions - np.nan_to_num(result.labels)), -1.0)
        return np.argsort(-error, kind="stable")[: max(1, int(known.sum() * WORST_SHARE))], error
    probabilities = class_probabilities(schema, result.logits, temperature)
    if schema.kind == MULTI:
        wrong_labels = result.predictions != result.labels
        certainty = np.where(result.predictions == 1, probabilities, 1 - probabilities)
        confidence = np.where(wrong_labels, certainty, 0.0).max(axis=1)
        wrong = wrong_labels.any(axis=1)
    else:
        confidence = probabilities.max(axis=1)
        wrong = result.predictions != result.labels
    rows = np.flatnonzero(wrong & known)
    return rows[np.argsort(-confidence[rows], kind="stable")], confidence


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet shows and does not run, on one line."""
    return escape_formula(" ".join(str(text).split()))
