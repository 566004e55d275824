"""The order of training rows, the batches of evaluation rows, and the share of padding in them."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from bertlab.data.batching import consecutive_batches

# Rows are sorted by length within megabatches of this many global batches: long enough to leave 4 % of padding on
# CoLA, short enough that the order stays random.
MEGABATCH_BATCHES = 50


class LengthGroupedOrder(Sampler[int]):
    """A random order of the training rows in which every global batch has rows of similar length.

    It depends on the seed, the epoch and the global batch alone, not on gradient accumulation or the number of
    processes, nor on the state of any random generator: a resumed epoch continues where it stopped.
    """

    def __init__(self, lengths: np.ndarray, global_batch: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.global_batch = global_batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        rows = random.permutation(len(self.lengths))
        megabatch = self.global_batch * MEGABATCH_BATCHES
        for start in range(0, len(rows), megabatch):
            part = rows[start : start + megabatch]
            rows[start : start + megabatch] = part[np.argsort(-self.lengths[part], kind="stable")]
        # Batches in random order, or every megabatch would go from long to short; the ragged last one stays last.
        full = len(rows) // self.global_batch
        batches = random.permutation(full)
        order = rows[: full * self.global_batch].reshape(full, self.global_batch)[batches].reshape(-1)
        yield from order.tolist()
        yield from rows[full * self.global_batch :].tolist()


def max_tokens_batches(lengths: np.ndarray, rows: int, processes: int = 1) -> list[list[int]]:
    """Return consecutive rows in batches of at most as many tokens, padding included, as `rows` of the longest have.

    So a batch takes no more memory than `rows` of the longest, and short rows come in larger batches. Rows stay in the
    order of the split: sort them by length first.

    Several processes take the batches in turn. Those of a step have as many rows as each other, or their logits could
    not be gathered, and together consecutive ones; at the end the last row is repeated.
    """
    padded = np.append(lengths, np.repeat(lengths[-1:], -len(lengths) % processes))
    longest = padded.reshape(-1, processes).max(axis=1)  # of as many rows as there are processes
    batches = []
    for part in consecutive_batches(longest, rows * int(np.max(lengths, initial=1))):
        step = np.arange(part[0] * processes, (part[-1] + 1) * processes).clip(max=len(lengths) - 1)
        batches += step.reshape(processes, -1).tolist()
    return batches


def padding_share(lengths: np.ndarray, order: np.ndarray, batch: int, pad_to: int | None = None) -> float:
    """Return the share of tokens that is padding when rows (lengths in tokens) are batched in an order."""
    batches = [lengths[order[start : start + batch]] for start in range(0, len(order), batch)]
    padded = sum((pad_to or int(rows.max())) * len(rows) for rows in batches)
    return 1 - float(lengths.sum()) / padded
