"""misclassified/<split>.tsv: wrong predictions, most confident first; in regression the largest errors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertlab.data.labels import MULTI, REGRESSION, LabelSchema
from bertlab.evaluation.evaluate import SplitResult, class_probabilities
from bertlab.io import escape_formula, unescape_formula
from bertlab.report.predictions import label_names, reading, write_tsv

# The column that replaces the confidence in regression.
ERROR = "absolute_error"
# The columns that may hold any text.
TEXTS = ["label", "prediction", "text", "text_pair"]
# The fraction of the examples that is listed in regression.
WORST_FRACTION = 0.1


def path_of(folder: Path, split: str) -> Path:
    """Return the path of a split's misclassified examples; earlier versions wrote them under errors/."""
    earlier = folder / "errors" / f"{split}.tsv"
    return earlier if earlier.is_file() else folder / "misclassified" / f"{split}.tsv"


def write(
    folder: Path, result: SplitResult, schema: LabelSchema, rows: dict[str, Sequence[Any]], temperature: float
) -> None:
    """Write the misclassified examples of a split; `rows` has idx, text, perhaps text_pair, length and full_length."""
    assert result.labels is not None
    chosen, confidence = rank(result, schema, temperature)
    taken = {name: [column[row] for row in chosen.tolist()] for name, column in rows.items()}
    columns = {
        "idx": taken["idx"],
        "label": label_names(result.labels[chosen], schema),
        "prediction": label_names(result.predictions[chosen], schema),
        ERROR if schema.kind == REGRESSION else "confidence": [f"{value:.4f}" for value in confidence[chosen]],
        "tokens": taken["full_length"],
        "truncated": ["yes" if f > n else "no" for f, n in zip(taken["full_length"], taken["length"], strict=True)],
        "text": taken["text"],
        "text_pair": taken.get("text_pair", [""] * len(chosen)),
    }
    for name in TEXTS:
        # On one line that a spreadsheet shows and does not run.
        columns[name] = [escape_formula(" ".join(str(text).split())) for text in columns[name]]
    write_tsv(folder / "misclassified" / f"{result.name}.tsv", columns)


def read(folder: Path, split: str) -> list[Any]:
    """Return the misclassified examples of a run in one split as named tuples; none where there is no file.

    They have the columns of the file and `split`; `confidence` is the absolute error in regression.

    Raises:
        UserError: the file cannot be read.
    """
    path = path_of(folder, split)
    if not path.is_file():
        return []
    with reading(path) as frame:
        # Earlier versions called an absolute error a confidence.
        frame = frame.rename(columns={ERROR: "confidence"}).astype({"confidence": float, "tokens": int})
        frame[TEXTS] = frame[TEXTS].map(unescape_formula)
        frame["truncated"] = frame["truncated"] == "yes"
        return list(frame.assign(split=split).itertuples(index=False, name="Misclassified"))


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
        confidence = np.take_along_axis(probabilities, result.predictions[:, None], axis=1)[:, 0]
        wrong = result.predictions != result.labels
    rows = np.flatnonzero(wrong & labelled)
    return rows[np.argsort(-confidence[rows], kind="stable")], confidence
