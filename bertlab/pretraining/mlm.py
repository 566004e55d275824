"""Masked language modeling (MLM), alone or together with next-sentence prediction (NSP), as BERT was pretrained.

Labels are one tensor of shape (rows, 1 + tokens): column 0 is the NSP label (NO_LABEL where it does not count), the
others are the ids to predict (NO_LABEL where nothing is masked).
"""

import multiprocessing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from bertlab.console import quiet_datasets
from bertlab.data.labels import NO_LABEL
from bertlab.training.collators import PaddingCollator

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# Of the chosen tokens: replaced by [MASK], by a random token, left as they are (Devlin et al. 2019, section 3.1).
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
# Seeds of different rows differ up to this many rows.
SEED_STRIDE = 1_000_003
# torch takes seeds of 64 bits; a seed of 32 and two strides need 72. Those that fit stay as they are.
MASK_SEEDS = 2**63
# The STATISTICS columns of what row_statistics returns.
NSP_LOGITS, MASKED, MLM_CORRECT, NEGATIVE_LOG_LIKELIHOOD = slice(0, 2), 2, 3, 4
STATISTICS = 5


class MaskingCollator:
    """Pads rows and masks some of their tokens, each row by a seed of its own.

    So neither its neighbours nor the batch layout nor a resumed run changes what is masked. A row with `mask_seed`
    is always masked the same way, for evaluation; one with `train_row`, its number, differently in every epoch.

    transformers' DataCollatorForLanguageModeling draws for a whole batch, padding included, from one generator. It
    masks whole words by character offsets, by which "cat." is one word, and then never by random tokens.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        pad: PaddingCollator,
        probability: float,
        *,
        whole_words: bool = False,
        nsp: bool = False,
        seed: int = 0,
    ) -> None:
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        self.special = torch.zeros(len(tokens), dtype=torch.bool)
        self.special[tokenizer.all_special_ids] = True
        self.continues = torch.tensor([token is not None and token.startswith("##") for token in tokens])
        self.mask_id = tokenizer.mask_token_id
        self.pad = pad
        self.pad_to = pad.pad_to
        self.probability = probability
        self.whole_words = whole_words
        self.nsp = nsp
        self.seed = seed
        # Shared, so that worker processes that outlive an epoch see the next one.
        self.epoch = multiprocessing.Value("q", 0, lock=False)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.pad(rows)
        labels = torch.full((len(rows), 1 + batch["input_ids"].shape[1]), NO_LABEL)
        if self.nsp:
            labels[:, 0] = batch["labels"]
        for index, row in enumerate(rows):
            width = len(row["input_ids"])
            own = slice(-width, None) if self.pad.on_the_left else slice(width)
            ids = batch["input_ids"][index, own]
            generator = torch.Generator().manual_seed(self._seed(row))
            batch["input_ids"][index, own], labels[index, 1:][own] = self.mask(ids, generator)
        batch["labels"] = labels
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Mask other tokens of the training rows from now on."""
        self.epoch.value = epoch

    def mask(self, ids: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids of a row (tokens,) with some masked, and the ids to predict, NO_LABEL elsewhere.

        Each word (or token) is chosen with the same probability, so that share of the tokens is on average.
        """
        chosen = self._choose(ids, generator) & ~self.special[ids]
        fate = torch.rand(ids.shape, generator=generator)
        masked = torch.where(chosen & (fate < MASK_SHARE), self.mask_id, ids)
        swapped = chosen & (fate >= MASK_SHARE) & (fate < MASK_SHARE + RANDOM_SHARE)
        masked[swapped] = torch.randint(len(self.special), (int(swapped.sum()),), generator=generator)
        return masked, torch.where(chosen, ids, NO_LABEL)

    def _choose(self, ids: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        draws = torch.rand(ids.shape, generator=generator)
        if self.whole_words:
            # The first piece of a word draws for all of its pieces.
            starts = ~self.continues[ids]
            draws = draws[starts][starts.cumsum(dim=0) - 1]
        return draws < self.probability

    def _seed(self, row: dict[str, Any]) -> int:
        if "mask_seed" in row:
            return int(row["mask_seed"])
        first = (self.seed * SEED_STRIDE + self.epoch.value) * SEED_STRIDE
        return int(first + row["train_row"]) % MASK_SEEDS


class PretrainingLoss:
    """Mean MLM loss plus mean NSP loss over an optimizer step, exact under any batch layout."""

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scalar loss; `num_items_in_batch` is (2,): the step's NSP labels and masked tokens."""
        items = self.count(labels) if num_items_in_batch is None else num_items_in_batch
        mlm_labels = labels[:, 1:]
        # Most tokens are not masked, and their logits need no float32 copy.
        masked = mlm_labels != NO_LABEL
        if not hasattr(outputs, "prediction_logits"):
            return _mean_loss(outputs.logits[masked], mlm_labels[masked], items[1])
        mlm_loss = _mean_loss(outputs.prediction_logits[masked], mlm_labels[masked], items[1])
        return mlm_loss + _mean_loss(outputs.seq_relationship_logits, labels[:, 0], items[0])

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """Return (2,): how many NSP labels and how many masked tokens a batch has."""
        known = labels.ne(NO_LABEL)
        return torch.stack([known[:, 0].sum(), known[:, 1:].sum()])


def row_statistics(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Reduce MLM logits (rows, tokens, vocabulary) to what is reported: (rows, STATISTICS) float32.

    The columns are two NSP logits, the number of masked tokens, of correct ones, and their negative log likelihood;
    the MLM logits of a thousand rows of 128 tokens would take 16 GB.
    """
    mlm_logits, nsp_logits = logits if isinstance(logits, (tuple, list)) else (logits, None)
    masked = labels[:, 1:] != NO_LABEL
    rows = torch.zeros((len(labels), STATISTICS), device=mlm_logits.device)
    if nsp_logits is not None:
        rows[:, NSP_LOGITS] = nsp_logits.float()
    chosen, targets = mlm_logits[masked].float(), labels[:, 1:][masked]
    correct = (chosen.argmax(dim=-1) == targets).float()
    losses = functional.cross_entropy(chosen, targets, reduction="none")
    values = torch.stack([torch.ones_like(losses), correct, losses], dim=1)
    rows[:, MASKED:].index_add_(0, masked.nonzero()[:, 0], values)
    return rows


def mlm_metrics(statistics: np.ndarray) -> dict[str, float]:
    """Return masked-token accuracy, perplexity and count from rows of row_statistics."""
    masked = float(statistics[:, MASKED].sum())
    if not masked:
        return {"masked_accuracy": float("nan"), "perplexity": float("nan"), "masked_tokens": 0}
    return {
        "masked_accuracy": float(statistics[:, MLM_CORRECT].sum()) / masked,
        "perplexity": float(np.exp(statistics[:, NEGATIVE_LOG_LIKELIHOOD].sum(dtype=np.float64) / masked)),
        "masked_tokens": int(masked),
    }


def with_mask_seeds(split: "Dataset", seed: int) -> "Dataset":
    """Return a split whose rows are masked the same way whenever they are evaluated."""
    with quiet_datasets():
        return split.add_column("mask_seed", np.asarray(split["idx"][:]) + seed * SEED_STRIDE)


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Return the summed loss of logits (n, classes) over the number of labels in the whole step."""
    total = functional.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL, reduction="sum")
    return total / items.clamp(min=1)
