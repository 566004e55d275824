"""Losses that are means over a whole optimizer step, under any batch layout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, LabelSchema
from bertlab.errors import UserError

if TYPE_CHECKING:
    from transformers import TrainingArguments


class StepLoss(Protocol):
    """A loss of batches that is the mean over all labels of their optimizer step, and counts them."""

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of a batch; `num_items_in_batch` is the sum of `count` over the step."""

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return how many labels of a batch the loss is the mean of, one number or several of different kinds."""


@dataclass(frozen=True)
class ExactLoss:
    """The loss of a batch as the mean over all examples of the optimizer step it belongs to.

    BERT's own forward averages over the micro-batch it sees, and Trainer then sums these means: four micro-batches
    of 4 give four times the loss and gradient of one batch of 16 (transformers issue 47688). Here every term is
    divided by the number of labels in the whole step, so the batch layout changes nothing, ragged ends included.
    """

    kind: str
    class_weights: torch.Tensor | None = None
    label_smoothing: float = 0.0

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of `outputs.logits` (rows, classes) against `labels` as the collator makes them."""
        return self.of_logits(outputs.logits, labels, num_items_in_batch)

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return how many labels of a batch the loss is the mean of."""
        return is_labelled(labels).sum()

    def of_rows(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean loss of evaluated rows: logits (rows, classes) and their labels; NaN if there is none."""
        target = torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32))
        return float(self.of_logits(torch.from_numpy(logits), target)) if len(labels) else float("nan")

    def of_logits(
        self, logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of logits (rows, classes); see the class."""
        logits = logits.float()
        mask = is_labelled(labels)
        items = mask.sum() if num_items_in_batch is None else num_items_in_batch
        if self.kind in (MULTI, REGRESSION):
            # Not logits[mask], for which a GPU would have to say how many there are.
            known = torch.where(mask, labels.float(), 0.0)
            of = functional.mse_loss if self.kind == REGRESSION else functional.binary_cross_entropy_with_logits
            losses = of(logits.squeeze(-1) if self.kind == REGRESSION else logits, known, reduction="none")
            return torch.where(mask, losses, 0.0).sum() / items
        total = functional.cross_entropy(
            logits,
            labels,
            weight=None if self.class_weights is None else self.class_weights.to(logits.device),
            ignore_index=NO_LABEL,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / items


def is_labelled(labels: torch.Tensor) -> torch.Tensor:
    """Return a mask, shaped like `labels`, of those that are there: class ids but NO_LABEL, numbers but NaN."""
    return ~labels.isnan() if labels.is_floating_point() else labels.ne(NO_LABEL)


def balanced_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """Return weights (classes,) proportional to 1/frequency whose mean over the training rows is 1.

    A class without rows counts as if it had one.
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return torch.tensor(len(labels) / (present * np.maximum(counts, 1)), dtype=torch.float32)


def loss_for(schema: LabelSchema, train: Any, class_weights: str, args: "TrainingArguments") -> ExactLoss:
    """Return the loss of a label schema; balanced class weights come from the training rows, a tokenized split.

    Raises:
        UserError: class weights or label smoothing where labels are not single classes.
    """
    single = schema.kind not in (MULTI, REGRESSION)
    for flag, given in (
        ("--class_weights balanced", class_weights == "balanced"),
        ("--label_smoothing_factor", args.label_smoothing_factor),
    ):
        if given and not single:
            raise UserError(f"{flag} is for one class a row, not {schema.kind}.", "Leave it out.")
    weights = None
    if class_weights == "balanced" and train is not None:
        # On the device from the start: a copy in each step would be waited for.
        weights = balanced_weights(np.asarray(train["labels"][:]), schema.size).to(args.device)
    return ExactLoss(schema.kind, weights, args.label_smoothing_factor)
