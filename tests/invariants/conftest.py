"""A model without dropout and a training file with a ragged last batch, for runs that must agree."""

from pathlib import Path

import pytest
from running import labelled_sentences, variant


@pytest.fixture(scope="session")
def still_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT without dropout: two runs that see the same rows compute the same numbers."""
    folder = tmp_path_factory.mktemp("models") / "still"
    return variant(tiny_model, folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.fixture(scope="session")
def sentences(tmp_path_factory: pytest.TempPathFactory, write_csv) -> dict[str, Path]:
    """Return files of 70 training rows (16 do not divide them), 30 validation and 21 test rows, lengths mixed."""
    folder = tmp_path_factory.mktemp("sentences")
    header = ("text", "label")
    return {
        "train_file": write_csv(folder / "train.csv", header, labelled_sentences(70, seed=1)),
        "validation_file": write_csv(folder / "dev.csv", header, labelled_sentences(30, seed=2)),
        "test_file": write_csv(folder / "test.csv", header, labelled_sentences(21, seed=3)),
    }
