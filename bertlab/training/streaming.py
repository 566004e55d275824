"""The training rows for the Trainer; those of a stream are ordered within buffers and tokenized in the collator."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import IterableDataset

from bertlab.data.streaming import Stream
from bertlab.training.arguments import global_batch
from bertlab.training.sampling import LengthGroupedOrder

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments

    from bertlab.data.dataset import Data


class StreamedRows(IterableDataset[dict[str, Any]]):
    """An endless training set of a stream's rows: in buffers, each shuffled and grouped by length.

    The order follows the seed, the buffer's number and the global batch alone, so it is the same on every process and
    when a run is resumed.
    """

    def __init__(self, stream: Stream, buffer: int, global_batch: int, seed: int, grouped: bool) -> None:
        self.stream = stream
        # Whole global batches, or those of the next buffer would mix lengths.
        self.buffer = -(-buffer // global_batch) * global_batch
        self.global_batch = global_batch
        self.seed = seed
        self.grouped = grouped

    def __iter__(self) -> Iterator[dict[str, Any]]:
        seen, numbers = 0, itertools.count()
        while True:
            rows = self.stream.pass_over()
            if not self.buffer:
                yield from rows
                continue
            # Buffers start with a global batch: the one that the pass before left unfinished is filled up first.
            first = list(itertools.islice(rows, -seen % self.global_batch))
            yield from first
            seen += len(first)
            # And end with a pass: a copy of a row could come before other rows have come at all.
            while buffer := list(itertools.islice(rows, self.buffer)):
                yield from (buffer[index] for index in self._order(buffer, next(numbers)))
                seen += len(buffer)

    def _order(self, rows: list[dict[str, Any]], number: int) -> Sequence[int]:
        if not self.grouped:
            shuffled: list[int] = np.random.default_rng([self.seed, number]).permutation(len(rows)).tolist()
            return shuffled
        # In characters, which leave more padding than tokens would: only the process that takes a row tokenizes it.
        lengths = np.asarray([sum(len(row.get(name, "")) for name in ("text", "text_pair")) for row in rows])
        order = LengthGroupedOrder(lengths, self.global_batch, self.seed)
        order.set_epoch(number)
        return list(order)


def training_rows(
    data: "Data", tokenized: "Mapping[str, Dataset]", args: "TrainingArguments"
) -> "Dataset | StreamedRows | None":
    """Return the rows to train on: tokenized, or those of a stream; None where the run does not train.

    Buffers of a stream are ordered as --train_sampling_strategy says.
    """
    if data.stream is None:
        return tokenized[data.train] if data.train and args.do_train else None
    strategy = args.train_sampling_strategy
    buffer = 0 if strategy == "sequential" else data.stream.arguments.shuffle_buffer
    seed = args.seed if args.data_seed is None else args.data_seed
    return StreamedRows(data.stream, buffer, global_batch(args), seed, grouped=strategy == "group_by_length")
