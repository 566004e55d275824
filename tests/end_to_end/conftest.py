"""Small files of every kind of label, written for each test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from running import labelled_sentences, variant


@pytest.fixture
def make_csv(tmp_path: Path, write_csv) -> Callable[..., Path]:
    """Return a function that writes `rows` sentences, with labels by default: make_csv("train", 40, names=…)."""

    def make(stem: str, rows: int, names: tuple[str, ...] = ("bad", "good"), labelled: bool = True) -> Path:
        sentences = labelled_sentences(rows, seed=len(stem) + rows, names=names)
        header = ("text", "label") if labelled else ("text",)
        return write_csv(tmp_path / f"{stem}.csv", header, sentences if labelled else [row[:1] for row in sentences])

    return make


@pytest.fixture(scope="session")
def long_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT with 128 positions, as most commands in the wild ask for."""
    return variant(tiny_model, tmp_path_factory.mktemp("models") / "long", max_position_embeddings=128)
