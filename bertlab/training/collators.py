"""Rows as padded tensors."""

import multiprocessing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlab.data import dataset, tokenization
from bertlab.data.batching import Padding

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


class PaddingCollator:
    """Stacks rows into tensors, padded to the longest row, or `fixed` to `max_length` tokens; see `Padding`.

    Returns `input_ids` and the tokenizer's other inputs as int64 of shape (rows, tokens), `attention_mask`, and
    `labels`: int64 (rows,) for classes, float32 (rows,) for numbers, float32 (rows, classes) for several labels.
    Rows of a stream are not tokenized yet; here they are, truncated to `max_length`.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", max_length: int | None = None, fixed: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._pad = Padding(tokenizer, max_length, fixed)
        self.pad_to = self._pad.pad_to
        self.on_the_left = self._pad.on_the_left

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = rows if "input_ids" in rows[0] else self._tokenized(rows)
        batch = {name: torch.from_numpy(values) for name, values in self._pad(rows).items()}
        if "labels" in rows[0]:
            labels = np.asarray([row["labels"] for row in rows])
            batch["labels"] = torch.from_numpy(labels if labels.dtype == np.int64 else labels.astype(np.float32))
        return batch

    def _tokenized(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        texts = dataset.text_columns({name: [row[name] for row in rows] for name in rows[0]})
        columns = tokenization.tokenize_texts(texts, self.tokenizer, self.max_length or self.tokenizer.model_max_length)
        return [
            {**{name: values[index] for name, values in columns.items()}, "labels": row["labels"]}
            for index, row in enumerate(rows)
        ]


class EpochRowsCollator:
    """Collates the training rows of this epoch: those given in the first, of tables of as many rows in `later` ones.

    A row is known by its number, `train_row`, so that order, resuming and the number of processes stay as they are.
    """

    def __init__(self, collate: Any, later: Sequence["Dataset"]) -> None:
        self.collate = collate
        self.later = later
        self.pad_to = collate.pad_to
        # Shared, so that worker processes that outlive an epoch see the next one.
        self.epoch = multiprocessing.Value("q", 0, lock=False)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        turn = self.epoch.value % (len(self.later) + 1)
        if turn and "train_row" in rows[0]:
            rows = [{**row, **self.later[turn - 1][row["train_row"]]} for row in rows]
        batch: dict[str, torch.Tensor] = self.collate(rows)
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Take the rows of another epoch from now on; after the last table comes the first again."""
        self.epoch.value = epoch
        if hasattr(self.collate, "set_epoch"):
            self.collate.set_epoch(epoch)
