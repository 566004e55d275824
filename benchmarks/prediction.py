"""Rows a second of `python -m bertlab predict`'s own code against transformers.pipeline at several batch sizes.

    python -m benchmarks.prediction --data FOLDER

The texts are 20,000 reviews of mixed length: all those of app_reviews, the rest from IMDb, in random order. The two
take turns on chunks of them until all are labelled, which is eight minutes for the pipeline on two cores.
"""

import csv
import gzip
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from bertlab.cli.arguments import ModelArguments
from bertlab.commands import predict
from bertlab.inference.loading import load_predictor
from bertlab.inference.predictor import Predictor
from bertlab.models import loading

TEXTS = 20_000
# Half of what the command holds at once: fewer rows of the same length are in it, so ours is not flattered.
PIECE = 4_000
# Rows on which the pipeline's best batch size is found.
TRIAL = 128
BATCH_SIZES = (1, 8, 32)
LONGEST = 256
TARGET = 2.0


def main() -> int:
    """Measure, print, write."""
    where = measure.options(__doc__ or "")
    texts = reviews(where.data)
    order = np.random.default_rng(0).permutation(len(texts))[: where.size(TEXTS, 24)]
    texts = [texts[row] for row in order.tolist()]
    with tempfile.TemporaryDirectory() as folder:
        make_classifier(Path(folder))
        predictor, pipeline = load_both(folder)
        trial = texts[: where.size(TRIAL, 8)]
        sizes = {size: piped(pipeline, trial, size) for size in BATCH_SIZES}
        best = max(sizes, key=lambda size: sizes[size])
        peer = f"pipeline, batches of {best}"
        pieces = [texts[start : start + PIECE] for start in range(0, len(texts), PIECE)]
        rates: dict[str, list[float]] = {measure.OURS: [], peer: []}
        for piece in pieces:
            rates[measure.OURS].append(ours(predictor, piece))
            rates[peer].append(piped(pipeline, piece, best))
        found: dict[str, Any] = {
            "prediction": measure.compared(rates, "rows/s", {peer: TARGET}),
            "pipeline by batch size, rows/s": sizes,
            "texts": {"all": len(texts), "in a chunk": PIECE, "longest in tokens": LONGEST},
            "agreement with the pipeline, fp32": agreement(predictor, pipeline, trial),
        }
    measure.write(where, "prediction", found, rounds=len(pieces))
    return 0


def reviews(folder: Path) -> list[str]:
    """Return TEXTS reviews: the short ones of apps, then as many of IMDb's as are needed."""
    with (folder / "app_reviews" / "reviews.csv").open(encoding="utf-8", newline="") as stream:
        texts = [row["content"] for row in csv.DictReader(stream) if row["content"].strip()][:TEXTS]
    with gzip.open(folder / "imdb" / "IMDB Dataset.csv.gz", "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if len(texts) == TEXTS:
                break
            texts.append(row["review"])
    return texts


def make_classifier(folder: Path) -> None:
    """Save MiniLM with a seeded head of two classes: its scores mean nothing, its speed does."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    source = loading.resolve(measure.WEIGHTS)
    AutoModelForSequenceClassification.from_pretrained(source, num_labels=2).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


def load_both(folder: str) -> tuple[Predictor, Any]:
    """Return ours and the pipeline, for the same model."""
    from transformers import pipeline

    return load_predictor(ModelArguments(model_name_or_path=folder), LONGEST), pipeline(
        "text-classification", folder, top_k=None
    )


def ours(predictor: Predictor, texts: list[str]) -> float:
    """Return rows a second of ours, in pieces as the command takes them."""
    began = time.perf_counter()
    for start in range(0, len(texts), predict.ROWS_AT_ONCE):
        predictor([(text,) for text in texts[start : start + predict.ROWS_AT_ONCE]])
    return len(texts) / (time.perf_counter() - began)


def piped(pipeline: Any, texts: list[str], size: int) -> float:
    """Return rows a second of the pipeline."""
    began = time.perf_counter()
    list(pipeline(texts, batch_size=size, truncation=True, max_length=LONGEST))
    return len(texts) / (time.perf_counter() - began)


def agreement(predictor: Predictor, pipeline: Any, texts: list[str]) -> dict[str, float]:
    """Return how far our probabilities are from the pipeline's."""
    mine = predictor([(text,) for text in texts])
    told = pipeline(texts, truncation=True, max_length=LONGEST)
    by_name = [{item["label"]: item["score"] for item in row} for row in told]
    theirs = np.array([[row[name] for name in predictor.config.class_names] for row in by_name])
    changed = int((mine.argmax(1) != theirs.argmax(1)).sum())
    largest = float(np.abs(mine - theirs).max())
    return {"largest difference of a probability": largest, "rows": len(texts), "rows predicted differently": changed}


if __name__ == "__main__":
    sys.exit(main())
