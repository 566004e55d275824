"""BERT's own two objectives: masked words, alone or together with next sentences.

Labels are one tensor of shape (rows, 1 + tokens): column 0 is the next-sentence label (NO_LABEL where it does not
count), the others are the ids to restore (NO_LABEL where nothing was masked).
"""

import multiprocessing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from bertlab.data.labels import NO_LABEL
from bertlab.training.collators import PaddingCollator
from bertlab.training.trainer import EncoderTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# Of the chosen tokens: replaced by [MASK], by a random token, left as they are (Devlin et al. 2019, section 3.1).
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
# Seeds of different rows differ up to this many rows.
SEED_STRIDE = 1_000_003
# torch takes seeds of 64 bits; a seed of 32 and two strides need 72. Those that fit stay as they are.
MASK_SEEDS = 2**63
# Columns of what row_statistics returns.
NSP_LOGITS, MASKED, MLM_CORRECT, NEGATIVE_LOG_LIKELIHOOD = slice(0, 2), 2, 3, 4


class TokenMasker:
    """Chooses and hides tokens of padded batches; which tokens can be chosen comes from the tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", probability: float, whole_words: bool) -> None:
        size = len(tokenizer)
        tokens = tokenizer.convert_ids_to_tokens(list(range(size)))
        self.special = torch.zeros(size, dtype=torch.bool)
        self.special[tokenizer.all_special_ids] = True
        self.continues = torch.tensor([token is not None and token.startswith("##") for token in tokens])
        self.mask_id = tokenizer.mask_token_id
        self.vocabulary = size
        self.probability = probability
        self.whole_words = whole_words

    def __call__(
        self, input_ids: torch.Tensor, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (rows, tokens) ids with some hidden, and the ids to restore, NO_LABEL elsewhere.

        Each word (or token) is chosen with the same probability, so that share of the tokens is on average.
        """
        chosen = self._choose(input_ids, generator) & ~self.special[input_ids]
        fate = torch.rand(input_ids.shape, generator=generator)
        hidden = input_ids.clone()
        hidden[chosen & (fate < MASK_SHARE)] = self.mask_id
        swapped = chosen & (fate >= MASK_SHARE) & (fate < MASK_SHARE + RANDOM_SHARE)
        hidden[swapped] = torch.randint(self.vocabulary, (int(swapped.sum()),), generator=generator)
        return hidden, torch.where(chosen, input_ids, NO_LABEL)

    def _choose(self, input_ids: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        draws = torch.rand(input_ids.shape, generator=generator)
        if not self.whole_words:
            return draws < self.probability
        # The first piece of a word draws for all of its pieces.
        starts = (~self.continues[input_ids]).long()
        word = (starts.cumsum(dim=1) - 1).clamp(min=0)
        drawn = torch.zeros_like(draws).scatter_add(1, word, draws * starts).gather(1, word)
        return drawn < self.probability


class MaskingCollator:
    """Pads rows and hides some of their tokens, each row by a seed of its own.

    So neither its neighbours nor the cut of a batch nor a resumed run changes what is hidden. A row with `mask_seed`
    is always hidden the same way, for evaluation; one with `mask_row`, its number, anew in every epoch.
    """

    def __init__(self, pad: PaddingCollator, mask: TokenMasker, next_sentences: bool, seed: int = 0) -> None:
        self.pad = pad
        self.mask = mask
        self.next_sentences = next_sentences
        self.pad_to = pad.pad_to
        self.seed = seed
        # Shared, so that worker processes that outlive an epoch see the next one.
        self.epoch = multiprocessing.Value("q", 0, lock=False)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.pad(rows)
        nsp = batch.pop("labels") if self.next_sentences else torch.full((len(rows),), NO_LABEL)
        batch["input_ids"], restore = self._hide(batch["input_ids"], rows)
        batch["labels"] = torch.cat([nsp.unsqueeze(1), restore], dim=1)
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Hide other tokens of the training rows from now on."""
        self.epoch.value = epoch

    def _hide(self, input_ids: torch.Tensor, rows: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, restore = input_ids.clone(), torch.full_like(input_ids, NO_LABEL)
        for index, row in enumerate(rows):
            width = len(row["input_ids"])
            own = slice(input_ids.shape[1] - width, None) if self.pad.on_the_left else slice(width)
            generator = torch.Generator().manual_seed(self._seed(row))
            one, back = self.mask(input_ids[index : index + 1, own], generator)
            hidden[index, own], restore[index, own] = one[0], back[0]
        return hidden, restore

    def _seed(self, row: dict[str, Any]) -> int:
        if "mask_seed" in row:
            return int(row["mask_seed"])
        first = (self.seed * SEED_STRIDE + self.epoch.value) * SEED_STRIDE
        return (first + int(row["mask_row"])) % MASK_SEEDS


class PretrainingLoss:
    """Mean masked-token loss plus mean next-sentence loss over an optimizer step, exact under any cut of it."""

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scalar loss; `num_items_in_batch` is (2,): the step's next-sentence labels and masked tokens."""
        items = label_counts(labels) if num_items_in_batch is None else num_items_in_batch
        words, sentences = _both_logits(outputs)
        restore = labels[:, 1:]
        # The word logits of what was not hidden are most of them, and need no float32 copy.
        hidden = restore != NO_LABEL
        loss = _mean_loss(words[hidden], restore[hidden], items[1])
        return loss if sentences is None else loss + _mean_loss(sentences, labels[:, 0], items[0])


class PretrainingTrainer(EncoderTrainer):
    """EncoderTrainer that counts the two kinds of labels apart, and keeps no word logits after a batch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(preprocess_logits_for_metrics=row_statistics, **options)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        if not batch_samples:
            return None
        counts = torch.stack([label_counts(batch["labels"]) for batch in batch_samples]).sum(dim=0).to(device)
        if self.args.average_tokens_across_devices:
            counts = self.accelerator.gather(counts.unsqueeze(0)).sum(dim=0)
        return counts


def label_counts(labels: torch.Tensor) -> torch.Tensor:
    """Return (2,): how many next-sentence labels and how many masked tokens there are."""
    known = labels.ne(NO_LABEL)
    return torch.stack([known[:, 0].sum(), known[:, 1:].sum()])


def row_statistics(logits: Any, labels: torch.Tensor) -> torch.Tensor:
    """Reduce word logits (rows, tokens, vocabulary) to what is reported: (rows, 5) float32.

    The columns are two next-sentence logits, masked tokens, restored ones, and their negative log likelihood; kept
    whole, the word logits of a thousand rows of 128 tokens would take 16 GB.
    """
    words, sentences = logits if isinstance(logits, (tuple, list)) else (logits, None)
    restore = labels[:, 1:]
    hidden = restore != NO_LABEL
    rows = torch.zeros((len(labels), 5), device=words.device)
    if sentences is not None:
        rows[:, NSP_LOGITS] = sentences.float()
    said, wanted = words[hidden].float(), restore[hidden]
    right = (said.argmax(dim=-1) == wanted).float()
    losses = functional.cross_entropy(said, wanted, reduction="none")
    for column, values in (
        (MASKED, torch.ones_like(losses)),
        (MLM_CORRECT, right),
        (NEGATIVE_LOG_LIKELIHOOD, losses),
    ):
        rows[:, column].index_add_(0, hidden.nonzero()[:, 0], values)
    return rows


def mlm_scores(statistics: np.ndarray) -> dict[str, float]:
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
    return split.add_column("mask_seed", np.asarray(split["idx"][:]) + seed * SEED_STRIDE)


def with_mask_rows(split: "Dataset") -> "Dataset":
    """Return a split whose rows are masked anew in every epoch, by their number."""
    return split.add_column("mask_row", np.arange(len(split)))


def _mean_loss(logits: torch.Tensor, labels: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Return the summed loss of logits (n, classes) over the number of labels in the whole step."""
    total = functional.cross_entropy(logits.float(), labels, ignore_index=NO_LABEL, reduction="sum")
    return total / items.clamp(min=1)


def _both_logits(outputs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    if hasattr(outputs, "prediction_logits"):
        return outputs.prediction_logits, outputs.seq_relationship_logits
    return outputs.logits, None
