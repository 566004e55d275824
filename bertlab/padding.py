"""Encoded rows into tensors, padded no further than they must be."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PaddingCollator:
    """Stacks encoded rows into tensors, padded to the longest row, or to `pad_to` tokens where that is given.

    Returns `input_ids` and the tokenizer's other inputs as int64 of shape (rows, tokens), `attention_mask`, and
    `labels`: int64 (rows,) for classes, float32 (rows,) for numbers, float32 (rows, classes) for several labels.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", pad_to: int | None = None) -> None:
        self.pad_to = pad_to
        self.on_the_left = tokenizer.padding_side == "left"
        self.fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        self.inputs = [name for name in tokenizer.model_input_names if name != "attention_mask"]

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = [len(row["input_ids"]) for row in rows]
        width = self.pad_to or max(lengths)
        batch = {
            name: torch.from_numpy(self._stack([row[name] for row in rows], width, self.fill.get(name, 0)))
            for name in self.inputs
            if name in rows[0]
        }
        batch["attention_mask"] = torch.from_numpy(self._stack([[1] * length for length in lengths], width, 0))
        if "labels" in rows[0]:
            labels = np.asarray([row["labels"] for row in rows])
            batch["labels"] = torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32))
        return batch

    def _stack(self, rows: list[list[int]], width: int, fill: int) -> np.ndarray:
        stacked = np.full((len(rows), width), fill, dtype=np.int64)
        for index, row in enumerate(rows):
            start = width - len(row) if self.on_the_left else 0
            stacked[index, start : start + len(row)] = row
        return stacked
