"""What 10 and 100 times the rows, the length, the classes cost: seconds a row, for each stage that meets them.

    python -m benchmarks.growth --data FOLDER

Texts are random words; the model is a BERT of two layers with random weights, so that what grows with the data shows
beside what grows with the model.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from benchmarks import measure
from bertlab.cli.arguments import TokenizationArguments
from bertlab.data import tokenization
from bertlab.evaluation import hf_metrics
from bertlab.evaluation.metrics import Predicted
from bertlab.models import loading
from bertlab.training.sampling import LengthGroupedOrder

WORDS = ("the", "a", "boy", "girl", "cat", "reads", "sleeps", "walks", "often", "never", "film", "story", "street")
ROWS = (1_000, 10_000, 100_000)
LENGTHS = (5, 50, 500)
CLASSES = (2, 20, 200)


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(loading.resolve(measure.WEIGHTS))
    shrink = where.size(1, 100)
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {
            "rows: microseconds per row": {n: by_rows(n // shrink, tokenizer, Path(folder)) for n in ROWS},
            "words per row: microseconds per row": {n: forward(n, 2, 64 // min(shrink, 8)) for n in LENGTHS},
            "classes: microseconds per row": {n: by_classes(n, 20_000 // shrink) for n in CLASSES},
        }
    measure.write(where, "growth", found, rounds=1)
    return 0


def by_rows(rows: int, tokenizer: Any, folder: Path) -> dict[str, float]:
    """Return the cost of encoding and of ordering an epoch."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.integers(3, 20, rows)]
    Dataset.from_dict({"text": texts, "labels": [0] * rows}).save_to_disk(folder / str(rows))
    split = Dataset.load_from_disk(folder / str(rows))
    arguments = TokenizationArguments(128, overwrite_cache=True)
    began = time.perf_counter()
    lengths = np.asarray(tokenization.tokenize_split(split, tokenizer, arguments)["length"])
    tokenized = time.perf_counter()
    sum(1 for _ in LengthGroupedOrder(lengths, 32, 0))
    ordered = time.perf_counter()
    return {"tokenize": 1e6 * (tokenized - began) / rows, "order": 1e6 * (ordered - tokenized) / rows}


def forward(tokens: int, classes: int, rows: int) -> dict[str, float]:
    """Return the cost of a forward and a backward pass."""
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512, num_labels=classes
    )
    model = BertForSequenceClassification(config).train()
    ids = torch.randint(1000, 20_000, (rows, tokens))
    costs = []
    for _ in range(3):
        began = time.perf_counter()
        model(input_ids=ids).logits.sum().backward()
        costs.append(1e6 * (time.perf_counter() - began) / rows)
    return {"forward and backward": min(costs)}


def by_classes(classes: int, rows: int) -> dict[str, float]:
    """Return the cost of the head with its encoder, and of scoring predictions."""
    random = np.random.default_rng(0)
    truth, said = random.integers(0, classes, (2, rows))
    began = time.perf_counter()
    hf_metrics.compute(("accuracy", "matthews_correlation"), Predicted(said, np.empty(0)), truth)
    return {**forward(12, classes, 64), "metrics": 1e6 * (time.perf_counter() - began) / rows}


if __name__ == "__main__":
    sys.exit(main())
