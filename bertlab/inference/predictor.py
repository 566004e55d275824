"""A loaded model that labels texts: what PyTorch and ONNX Runtime have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertlab.data import batching, tokenization
from bertlab.data.sources import clean_text
from bertlab.evaluation import calibration
from bertlab.inference.inference_config import InputFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens per batch, padding included: short rows go in large batches, long ones in small ones.
TOKENS_PER_BATCH = 8192

Row = tuple[str, ...]


@dataclass(frozen=True)
class Predictor(ABC):
    """A loaded model with all that its predictions depend on."""

    tokenizer: "PreTrainedTokenizerBase"
    class_names: tuple[str, ...]
    kind: str
    max_length: int
    clean: tuple[str, ...]
    temperature: float
    thresholds: tuple[float, ...]
    reading: InputFormat
    text_column_delimiter: str | None

    def computing(self) -> AbstractContextManager[Any]:
        """Return what holds while batches are computed."""
        return nullcontext()

    @abstractmethod
    def logits(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Return the logits (rows, outputs) of a padded batch, int64 (rows, tokens) under each input's name."""

    def probabilities(self, rows: Sequence[Row]) -> np.ndarray:
        """Return calibrated probabilities (rows, classes) of texts or pairs, or scores (rows, 1), in their order."""
        tokenized = self.encode(rows)
        pad = batching.Padding(self.tokenizer)
        logits = np.zeros((len(rows), max(1, len(self.class_names))), dtype=np.float64)
        with self.computing():
            for batch in token_batches([len(row["input_ids"]) for row in tokenized]):
                logits[batch] = self.logits(pad([tokenized[row] for row in batch]))
        if self.kind == "regression":
            return logits
        scaled = logits / self.temperature
        return calibration.sigmoid(scaled) if self.kind.startswith("multi") else calibration.softmax(scaled)

    def names(self, probabilities: np.ndarray) -> list[list[str]]:
        """Return the classes that each row of probabilities says: one, or any number where a row can have several."""
        if self.kind.startswith("multi"):
            limits = np.asarray(self.thresholds or [0.5] * len(self.class_names))
            return [[n for n, on in zip(self.class_names, row >= limits, strict=True) if on] for row in probabilities]
        return [[self.class_names[index]] for index in probabilities.argmax(axis=1)]

    def labels(self, probabilities: np.ndarray) -> list[str]:
        """Return what each row of probabilities says as text: its classes, or its number."""
        if self.kind == "regression":
            return [f"{score:.9g}" for score in probabilities[:, 0]]
        return ["|".join(names) for names in self.names(probabilities)]

    def joined(self, row: Row) -> Row:
        """Return a text or pair as it is, and the texts of several columns joined, where the model reads them so."""
        return row if self.text_column_delimiter is None else (self.text_column_delimiter.join(row),)

    def encode(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return the model's inputs for texts or pairs, cleaned, joined and cut as in training, without padding."""
        cleaned = [tuple(clean_text(text, self.clean) or "" for text in row) for row in rows]
        columns = list(zip(*map(self.joined, cleaned), strict=True))
        tokenized = tokenization.tokenize_texts(columns, self.tokenizer, self.max_length)
        return [dict(zip(tokenized.keys(), values, strict=True)) for values in zip(*tokenized.values(), strict=True)]


def token_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield row numbers in batches of like length whose padded size stays within TOKENS_PER_BATCH."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    for part in batching.consecutive_batches(np.asarray(lengths)[order], TOKENS_PER_BATCH):
        yield order[part].tolist()
