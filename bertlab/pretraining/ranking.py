"""Ranking: how high a next-sentence model puts the true second segment among ten, as `predict --rank` does."""

from typing import TYPE_CHECKING

import numpy as np

from bertlab.cli.arguments import NspArguments, TokenizationArguments
from bertlab.data import tokenization
from bertlab.evaluation import evaluate
from bertlab.pretraining.pairs import IS_NEXT
from bertlab.training.trainer import EncoderTrainer

if TYPE_CHECKING:
    from bertlab.data.dataset import Data

CANDIDATES = 10
# At most this many first segments of a split are scored, each with all its candidates.
RANKED = 200


def ranking_metrics(nsp: NspArguments, trainer: EncoderTrainer, data: "Data", name: str) -> dict[str, float]:
    """Return MRR and recall@1 of the true next among ten second segments of a split, beside those of a random order.

    The nine others are random true seconds of the split, of which those with the text of the true next do not count.
    Nothing is returned where the split has fewer.
    """
    from datasets import Dataset

    follow = np.flatnonzero(np.asarray(data.splits[name]["labels"][:]) == IS_NEXT)
    if len(follow) < CANDIDATES:
        return {}
    first, second = data.read(data.splits[name].select(follow)[:])
    rows = candidates(len(follow), np.random.default_rng(nsp.split_seed))
    texts = {"text": [first[row[0]] for row in rows for _ in row], "text_pair": [second[at] for at in rows.flat]}
    tokenizer = trainer.processing_class
    length = TokenizationArguments(nsp.max_seq_length)
    tokenized = tokenization.tokenize_split(Dataset.from_dict(texts), tokenizer, length)  # type: ignore[arg-type]
    logits = evaluate.predict_logits(trainer, tokenized)
    scores = (logits[:, 0] - logits[:, 1]).reshape(rows.shape)
    other = np.array([[second[at] != second[row[0]] for at in row[1:]] for row in rows])
    ranks = 1 + ((scores[:, 1:] >= scores[:, :1]) & other).sum(axis=1)
    compared = 1 + other.sum(axis=1)
    of_random = np.cumsum(1 / np.arange(1, CANDIDATES + 1))[compared - 1] / compared  # the mean of 1/rank
    return {
        "mrr": float(np.mean(1 / ranks)),
        "recall_at_1": float(np.mean(ranks == 1)),
        "mrr_chance": float(np.mean(of_random)),
        "recall_at_1_chance": float(np.mean(1 / compared)),
    }


def candidates(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return (rows, CANDIDATES) of the numbers below `n`: at most RANKED different ones, each with others after it."""
    own = np.sort(rng.permutation(n)[:RANKED])
    steps = np.array([rng.choice(n - 1, CANDIDATES - 1, replace=False) + 1 for _ in own])
    return np.column_stack([own, (own[:, None] + steps) % n])
