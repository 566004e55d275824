"""A loaded model that labels texts: what PyTorch and ONNX Runtime have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.data import batching, tokenization
from bertlab.data.columns import clean_text
from bertlab.data.labels import MULTI, REGRESSION
from bertlab.evaluation import calibration
from bertlab.inference.inference_config import InferenceConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens per batch, padding included: short rows go in large batches, long ones in small ones.
TOKENS_PER_BATCH = 8192

Row = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Predictor(ABC):
    """A tokenizer and a model with all that predictions depend on; call it with texts or pairs.

    The texts of a row are joined with `text_column_delimiter`, unless it is None. Where one class is predicted, a row
    whose class has a probability below `abstain_below` has none.
    """

    tokenizer: "PreTrainedTokenizerBase"
    config: InferenceConfig
    text_column_delimiter: str | None = None
    abstain_below: float = 0.0

    def __call__(self, rows: Sequence[Row]) -> np.ndarray:
        """Return calibrated probabilities (rows, classes) of texts or pairs, or scores (rows, 1), in their order.

        A row without text has NaN.
        """
        has_text = np.array([all(text.strip() for text in row) for row in map(self.join, self.clean(rows))], dtype=bool)
        logits = np.full((len(rows), max(1, len(self.config.class_names))), np.nan)
        logits[has_text] = self.logits([row for row, present in zip(rows, has_text, strict=True) if present])
        if self.config.problem_type == REGRESSION:
            return logits
        scaled = logits / self.config.temperature
        return calibration.sigmoid(scaled) if self.config.problem_type == MULTI else calibration.softmax(scaled)

    def logits(self, rows: Sequence[Row]) -> np.ndarray:
        """Return the logits (rows, outputs), float64, of texts or pairs, in their order."""
        tokenized = self.tokenize(rows) if rows else []
        logits = np.zeros((len(rows), max(1, len(self.config.class_names))))
        with self.inference_mode():
            for batch in token_batches([len(row["input_ids"]) for row in tokenized]):
                logits[batch] = self.forward(self.pad([tokenized[row] for row in batch]))
        return logits

    def inference_mode(self) -> AbstractContextManager[Any]:
        """Return the context in which `forward` is called."""
        return nullcontext()

    @abstractmethod
    def forward(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs) of a padded batch, int64 (rows, tokens) under each input's name."""

    def predicted_classes(self, probabilities: np.ndarray) -> list[list[str]]:
        """Return the classes that each row of probabilities predicts: one, or any number with several labels."""
        names = self.config.class_names
        if self.config.problem_type == MULTI:
            thresholds = np.asarray(self.config.thresholds or [0.5] * len(names))
            return [[name for name, on in zip(names, row >= thresholds, strict=True) if on] for row in probabilities]
        chosen, confidence = self.decide(probabilities)
        return [[names[k]] if sure >= self.abstain_below else [] for k, sure in zip(chosen, confidence, strict=True)]

    def decide(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the class id (rows,) that each row has where one class is predicted, and its probability."""
        chosen = (probabilities - np.asarray(self.config.thresholds or 0.0)).argmax(axis=1)
        return chosen, np.take_along_axis(probabilities, chosen[:, None], axis=1)[:, 0]

    def labels(self, probabilities: np.ndarray) -> list[str]:
        """Return what each row of probabilities predicts as text: its classes, or its number."""
        if self.config.problem_type == REGRESSION:
            return ["" if np.isnan(score) else f"{score:.9g}" for score in probabilities[:, 0]]
        return ["|".join(names) for names in self.predicted_classes(probabilities)]

    def join(self, row: Row) -> Row:
        """Return a text or pair as it is, or the texts of several columns as one, where the model reads them so."""
        if self.text_column_delimiter is None:
            return row
        return (self.text_column_delimiter.join(text for text in row if text.strip()),)

    def clean(self, rows: Sequence[Row]) -> list[Row]:
        """Return texts or pairs as --clean made those of the training."""
        return [tuple(clean_text(text, self.config.clean) for text in row) for row in rows]

    def tokenize(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return the model's inputs for texts or pairs, cleaned, joined and truncated as in training, not padded."""
        columns = list(zip(*map(self.join, self.clean(rows)), strict=True))
        max_length = self.config.max_seq_length or self.tokenizer.model_max_length
        tokenized = tokenization.tokenize_texts(columns, self.tokenizer, max_length)
        return [dict(zip(tokenized.keys(), values, strict=True)) for values in zip(*tokenized.values(), strict=True)]

    def pad(self, tokenized: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        """Return tokenized rows as one batch, padded to the longest, or as in training for want of a mask."""
        return batching.Padding(self.tokenizer, self.config.max_seq_length)(tokenized)


def token_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield row numbers in length-bucketed batches whose padded size stays within TOKENS_PER_BATCH."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for batch in batching.consecutive_batches(np.asarray(lengths)[order], TOKENS_PER_BATCH):
        yield order[batch].tolist()
