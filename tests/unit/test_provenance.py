"""The code and the data of a run in run.json."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from nsp_runs import ranges, write_text
from transformers import AutoTokenizer

from bertlab.cli.arguments import NspArguments
from bertlab.data.dataset import Data
from bertlab.pretraining import dataset
from bertlab.report import provenance


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small repository with one commit."""
    for name in ("bertlab/train.py", "benchmarks/speed.py", "benchmarks/results/speed.json", "docs/numbers.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first", encoding="utf-8")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        author = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *author, *arguments], check=True)
    return tmp_path


def test_a_clean_checkout_names_its_commit(checkout: Path) -> None:
    found = provenance.commit(checkout)
    assert len(found["commit"]) == 40
    assert found["changed"] is False


@pytest.mark.parametrize("name", ["bertlab/train.py", "benchmarks/speed.py"])
def test_changed_code_is_recorded(checkout: Path, name: str) -> None:
    (checkout / name).write_text("second", encoding="utf-8")
    assert provenance.commit(checkout)["changed"] is True


@pytest.mark.parametrize("name", ["benchmarks/results/speed.json", "docs/numbers.md"])
def test_results_of_a_benchmark_are_no_change_of_the_code(checkout: Path, name: str) -> None:
    (checkout / name).write_text("second", encoding="utf-8")
    assert provenance.commit(checkout)["changed"] is False


def test_outside_a_checkout_nothing_is_claimed(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) == {"commit": None, "changed": None}


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (
            {"text": ["a story", "an app"], "text_pair": ["b", "c"], "labels": [1, 0], "source": ["x", "y"]},
            "7221b5014dea2dddce500289ff1d4f27",
        ),
        ({"idx": [4, 5], "text": ["a story", "an app"], "labels": [0.5, 2.0]}, "f627776ddc61172a1bcb7f21d3bceee7"),
    ],
)
def test_a_fingerprint_is_what_committed_records_hold(columns: dict[str, list[Any]], wanted: str) -> None:
    assert provenance.fingerprint(Dataset.from_dict(columns)) == wanted


def test_rows_whose_texts_hold_a_separator_have_distinct_fingerprints() -> None:
    texts = [
        ["a\x1fb", "c"],
        ["a", "b\x1fc"],
        ["a\x1c2b", "c"],
        ["a", "b\x1c2c"],
        ["a\x1eb", "c"],
        ["a", "b"],
    ]
    prints = {provenance.fingerprint(Dataset.from_dict({"text": column})) for column in texts}
    assert len(prints) == len(texts)


def _nsp_data(text: Path, cache: Path, tiny_model: Path) -> Data:
    arguments = NspArguments(text=[str(text)], document_unit="line", validation_fraction=0.2)
    return dataset.make_splits(
        dataset.read(arguments, str(cache)), arguments, AutoTokenizer.from_pretrained(tiny_model)
    )


def _fingerprints(data: Data) -> dict[str, str]:
    return {name: provenance.fingerprint(split, data.read) for name, split in data.splits.items()}


def test_a_fingerprint_of_pairs_follows_their_texts(tiny_model: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt")
    before = _nsp_data(text, tmp_path / "one", tiny_model)
    elsewhere = _nsp_data(write_text(tmp_path / "other.txt"), tmp_path / "two", tiny_model)
    assert _fingerprints(elsewhere) == _fingerprints(before)
    sentence = before.texts("validation")[0][0]
    assert text.read_text(encoding="utf-8").count(sentence) == 1
    text.write_text(text.read_text(encoding="utf-8").replace(sentence, "Zebra."), encoding="utf-8")
    edited = _nsp_data(text, tmp_path / "one", tiny_model)
    assert all(ranges(edited.splits[name]) == ranges(split) for name, split in before.splits.items())
    assert _fingerprints(edited)["validation"] != _fingerprints(before)["validation"]
    assert _fingerprints(edited)["train"] == _fingerprints(before)["train"]
