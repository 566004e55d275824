"""Rows a second from text to the encoded split on disk, against the tokenizer in Rust alone, on all cores.

python -m benchmarks.tokenization --data FOLDER
"""

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

# Read when the tokenizer is first used: both sides take every core.
os.environ["TOKENIZERS_PARALLELISM"] = "true"

from datasets import Dataset, disable_progress_bars
from transformers import AutoTokenizer

from benchmarks import measure
from benchmarks.prediction import reviews
from bertlab.cli.arguments import TokenizationArguments
from bertlab.data import tokenization
from bertlab.models import loading

PEER = "tokenizers.encode_batch"
TARGET = 0.8
# CoLA's sentences are repeated so often that fixed costs do not decide.
REPEATS = 6


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(loading.resolve(measure.WEIGHTS))
    lines = (where.data / "glue" / "CoLA" / "train.tsv").read_text(encoding="utf-8").splitlines()
    corpora = {"CoLA": [line.split("\t")[3] for line in lines] * REPEATS, "reviews": reviews(where.data)}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in corpora.items():
            part = texts[: where.size(len(texts), 200)]
            cases = {measure.OURS: partial(ours, part, tokenizer, Path(folder)), PEER: partial(raw, part, tokenizer)}
            rates = measure.in_turns(cases, where.rounds)
            found[f"tokenization, {name}"] = measure.compared(rates, "rows/s", {PEER: TARGET})
    measure.write(where, "tokenization", found, rounds=where.rounds)
    return 0


def ours(texts: list[str], tokenizer: Any, folder: Path) -> float:
    """Return rows a second of the whole preprocessing: truncation, lengths, and the Arrow file it writes."""
    split = Dataset.from_dict({"text": texts, "idx": range(len(texts)), "labels": [0] * len(texts)})
    on_disk = folder / str(time.monotonic_ns())
    split.save_to_disk(on_disk)
    split = Dataset.load_from_disk(on_disk)
    arguments = TokenizationArguments(128, overwrite_cache=True)
    began = time.perf_counter()
    tokenization.tokenize_split(split, tokenizer, arguments)
    return len(texts) / (time.perf_counter() - began)


def raw(texts: list[str], tokenizer: Any) -> float:
    """Return rows a second of one call of the tokenizer in Rust, truncating likewise."""
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(max_length=128)
    began = time.perf_counter()
    backend.encode_batch(texts)
    return len(texts) / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
