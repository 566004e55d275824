"""From logits to predictions and metrics, for every evaluation split, in the order of its rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bertlab.data.groups import RowGroups, resampled_groups
from bertlab.data.labels import MULTI, REGRESSION, LabelSchema, labelled_rows
from bertlab.evaluation import calibration
from bertlab.evaluation.metrics import Predicted

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

    from bertlab.data.dataset import Data

# Of multi-label classification, unless thresholds were fitted.
DEFAULT_THRESHOLD = 0.5
# The mean loss of logits (rows, outputs) and the labels of as many rows.
LossOfRows = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class SplitResult:
    """The predictions of the model for one split, row by row, in the order of the input.

    `logits` (rows, outputs) float32; `predictions` class ids (rows,), 0/1 (rows, classes) or numbers (rows,);
    `labels` likewise or None, with NO_LABEL or NaN in rows that have none; `metrics` over the labelled rows.
    Without `has_predictions` (masked language modeling alone) only the metrics mean something. `groups` are those
    that confidence intervals resample.
    """

    name: str
    prefix: str
    logits: np.ndarray
    predictions: np.ndarray
    labels: np.ndarray | None
    metrics: dict[str, float]
    has_predictions: bool = True
    groups: RowGroups | None = None

    def labelled(self) -> np.ndarray:
        """Return a mask (rows,) of the rows that have a label."""
        return labelled_rows(self.labels, len(self.logits))


def evaluate_splits(
    trainer: "Trainer", tokenized: dict[str, "Dataset"], data: "Data", names: tuple[str, ...], loss: LossOfRows
) -> list[SplitResult]:
    """Predict the named splits, and compute the metrics of those that have labels."""
    results = []
    for name in names:
        split = tokenized[name]
        started = time.perf_counter()
        logits = predict_logits(trainer, split)
        seconds = time.perf_counter() - started
        labels = np.asarray(split["labels"][:]) if "labels" in split.column_names else None
        metrics = {} if labels is None else compute_metrics(data.schema, data.metrics, logits, labels, loss)
        metrics.update(runtime=seconds, samples_per_second=len(logits) / seconds)
        prefix = metric_prefix(name, data)
        predictions = predictions_from_logits(data.schema, logits)
        together = resampled_groups(data.splits[name], name, by_text=data.text_is_group)
        results.append(SplitResult(name, prefix, logits, predictions, labels, metrics, groups=together))
    return results


def predict_logits(trainer: "Trainer", split: "Dataset") -> np.ndarray:
    """Return the model's logits (rows, outputs), float32, in the order of a tokenized split.

    Rows are fed from long to short, so that batches carry little padding and a batch that does not fit in memory
    fails first, and put back in place.
    """
    order = np.argsort(-np.asarray(split["length"][:]), kind="stable")
    unlabelled = split.remove_columns([name for name in ("labels",) if name in split.column_names])
    sorted_logits = trainer.predict(unlabelled.select(order)).predictions
    logits = np.empty_like(sorted_logits, dtype=np.float32)
    logits[order] = sorted_logits
    return logits


def compute_metrics(
    schema: LabelSchema,
    names: tuple[str, ...],
    logits: np.ndarray,
    labels: np.ndarray,
    loss: LossOfRows | None = None,
    thresholds: np.ndarray | None = None,
) -> dict[str, float]:
    """Return the metrics (and the loss) of the rows that have a label."""
    from bertlab.evaluation import hf_metrics

    rows = labelled_rows(labels, len(logits))
    predicted = as_scored(schema, outputs_of(schema, logits[rows]), thresholds)
    scores = hf_metrics.compute(names, predicted, schema.binary_ids(labels[rows]))
    if loss is not None:
        scores["loss"] = loss(logits[rows], labels[rows])
    return scores


def predictions_from_logits(
    schema: LabelSchema, logits: np.ndarray, thresholds: np.ndarray | None = None
) -> np.ndarray:
    """Return the predictions of logits (rows, outputs): class ids, 0/1 per class, or numbers."""
    return predictions_from_outputs(schema, outputs_of(schema, logits), thresholds)


def predictions_from_outputs(
    schema: LabelSchema, outputs: np.ndarray, thresholds: np.ndarray | None = None
) -> np.ndarray:
    """Return the predictions of what `outputs_of` returns.

    With thresholds (classes,) one class a row is the one that exceeds its own the most: of two, whose thresholds sum
    to 1, the one that reaches it.
    """
    if schema.kind == REGRESSION:
        return outputs
    if schema.kind == MULTI:
        return (outputs >= (DEFAULT_THRESHOLD if thresholds is None else thresholds)).astype(np.int64)
    return np.asarray((outputs if thresholds is None else outputs - thresholds).argmax(axis=-1))


def outputs_of(schema: LabelSchema, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return what predictions are made of: class probabilities (rows, classes), or the numbers (rows,) themselves."""
    if schema.kind == REGRESSION:
        return logits.reshape(-1).astype(np.float64)
    return class_probabilities(schema, logits, temperature)


def as_scored(schema: LabelSchema, outputs: np.ndarray, thresholds: np.ndarray | None = None) -> Predicted:
    """Return predictions and probabilities as metrics read them, where class 1 of two is the positive one."""
    predictions = schema.binary_ids(predictions_from_outputs(schema, outputs, thresholds))
    return Predicted(predictions, outputs[:, ::-1] if schema.is_swapped else outputs)


def class_probabilities(schema: LabelSchema, logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return class probabilities (rows, classes), float64; they sum to 1 unless a row can have several labels."""
    scaled = logits / temperature
    return calibration.sigmoid(scaled) if schema.kind == MULTI else calibration.softmax(scaled)


def metric_prefix(name: str, data: "Data") -> str:
    """Return the prefix of a split's keys in all_results.json.

    The first split of a role has Hugging Face's own (`eval_accuracy`, `test_accuracy`); further ones add their name.
    """
    if name == data.selection:
        return name
    role, splits = ("eval", data.validation) if name in data.validation else ("test", data.test)
    return role if name == splits[0] else f"{role}_{name}"
