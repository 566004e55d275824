"""Tokenized rows as padded tensors."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlab.data.batching import Padding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PaddingCollator:
    """Stacks tokenized rows into tensors, padded to the longest row, or to `pad_to` tokens where that is given.

    Returns `input_ids` and the tokenizer's other inputs as int64 of shape (rows, tokens), `attention_mask`, and
    `labels`: int64 (rows,) for classes, float32 (rows,) for numbers, float32 (rows, classes) for several labels.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", pad_to: int | None = None) -> None:
        self.pad_to = pad_to
        self._pad = Padding(tokenizer, pad_to)
        self.on_the_left = self._pad.on_the_left

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = {name: torch.from_numpy(values) for name, values in self._pad(rows).items()}
        if "labels" in rows[0]:
            labels = np.asarray([row["labels"] for row in rows])
            batch["labels"] = torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32))
        return batch
