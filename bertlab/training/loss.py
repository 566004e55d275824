"""Losses that are means over a whole optimizer step, under any batch layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from bertlab.data.labels import MULTI, NO_LABEL, REGRESSION, LabelSchema, class_weights
from bertlab.errors import UserError, did_you_mean

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
    `class_weights` (classes,) weigh each row by its class, and of several labels the rows that have the label.
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
            if self.kind == REGRESSION:
                losses = functional.mse_loss(logits.squeeze(-1), known, reduction="none")
            else:
                losses = functional.binary_cross_entropy_with_logits(
                    logits, known, pos_weight=self._weights(logits), reduction="none"
                )
            return torch.where(mask, losses, 0.0).sum() / items
        total = functional.cross_entropy(
            logits,
            labels,
            weight=self._weights(logits),
            ignore_index=NO_LABEL,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        return total / items

    def _weights(self, logits: torch.Tensor) -> torch.Tensor | None:
        return None if self.class_weights is None else self.class_weights.to(logits.device)


def is_labelled(labels: torch.Tensor) -> torch.Tensor:
    """Return a mask, shaped like `labels`, of those that are there: class ids but NO_LABEL, numbers but NaN."""
    return ~labels.isnan() if labels.is_floating_point() else labels.ne(NO_LABEL)


def loss_for(
    schema: LabelSchema, train: Any, weights: str | Mapping[str, float], args: "TrainingArguments"
) -> ExactLoss:
    """Return the loss of a label schema; `weights` are those of the classes, by `train`, a tokenized split.

    Raises:
        UserError: class weights in regression or of a class that there is not, or label smoothing where labels are not
            single classes.
    """
    for flag, given, fits in (
        ("--class_weights", weights != "none", schema.kind != REGRESSION),
        ("--label_smoothing_factor", args.label_smoothing_factor, schema.kind not in (MULTI, REGRESSION)),
    ):
        if given and not fits:
            raise UserError(f"{flag} is for classes, not for {schema.kind}.", "Leave it out.")
    unknown = [] if isinstance(weights, str) else [name for name in weights if name not in schema.class_names]
    if unknown:
        raise UserError(
            f"--class_weights: there is no class {unknown[0]!r}.", did_you_mean(unknown[0], schema.class_names)
        )
    found = None
    if train is not None and weights != "none":
        labels = np.asarray(train["labels"][:])
        counts = labels.sum(axis=0) if schema.kind == MULTI else np.bincount(labels, minlength=schema.size)
        found = class_weights(schema.kind, dict(zip(schema.class_names, counts, strict=True)), len(labels), weights)
    # On the device from the start: a copy in each step would be waited for.
    tensor = None if found is None else torch.tensor(found, dtype=torch.float32, device=args.device)
    return ExactLoss(schema.kind, tensor, args.label_smoothing_factor)
