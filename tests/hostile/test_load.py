"""Long input in little memory, in short; benchmarks/load.py measures the same on a million rows."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import predict, save_classifier

import bertlab.commands.predict
from benchmarks.load import MB, anonymous_mb, peak_of, write_rows
from bertlab.cli.arguments import DataArguments
from bertlab.data import dataset, findings

pytestmark = pytest.mark.slow

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/status says what is held")


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tiny_model, tmp_path_factory.mktemp("load") / "model")


def test_no_more_rows_are_read_than_are_about_to_be_printed(model, tmp_path, monkeypatch, capsys) -> None:
    waiting, most = [0], [0]
    read_rows, print_tsv = bertlab.commands.predict.read_rows, bertlab.commands.predict.PRINTERS["tsv"]

    def reading(*given: object) -> Iterator[tuple[str, ...]]:
        for row in read_rows(*given):
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
            yield row

    def printing(predictor: object, rows: list[tuple[str, ...]], *rest: object) -> None:
        print_tsv(predictor, rows, *rest)
        waiting[0] -= len(rows)

    monkeypatch.setattr(bertlab.commands.predict, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(bertlab.commands.predict, "read_rows", reading)
    monkeypatch.setitem(bertlab.commands.predict.PRINTERS, "tsv", printing)
    write_rows(tmp_path / "rows.jsonl", 333, 2)
    assert predict(model, "--file", tmp_path / "rows.jsonl", "--format", "tsv") == 0
    assert len(capsys.readouterr().out.splitlines()) == 334
    assert waiting == [0]
    assert most == [50]


@linux
def test_predicting_a_long_file_takes_no_more_memory_than_a_short_one(model, tmp_path, monkeypatch, capsys) -> None:
    write_rows(tmp_path / "short.jsonl", 1_500, 1_000)
    write_rows(tmp_path / "long.jsonl", 10_000, 1_000)
    size = (tmp_path / "long.jsonl").stat().st_size / MB

    def held(name: str) -> float:
        argv = (model, "--file", tmp_path / f"{name}.jsonl", "--format", "tsv", "--max_seq_length", 8)
        status = []
        peak, _ = peak_of(lambda: status.append(predict(*argv)))
        assert status == [0]
        assert len(capsys.readouterr().out.splitlines()) > 1_500
        return peak

    monkeypatch.setattr(bertlab.commands.predict, "CHARACTERS_AT_ONCE", 1 << 21)
    held("short")
    short = held("short")
    assert held("long") - short < 0.4 * size
    assert size > 35


@linux
def test_a_text_of_10_mb_in_one_cell_is_predicted(model, tmp_path, capsys) -> None:
    (tmp_path / "huge.csv").write_text("text\n" + "the boy walked on the hill " * 400_000 + "\n", encoding="utf-8")
    assert predict(model, "--text", "the boy", "--format", "tsv") == 0
    before = anonymous_mb()
    peak, _ = peak_of(lambda: predict(model, "--file", tmp_path / "huge.csv", "--format", "tsv"))
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert peak - before < 160  # the tokenizer alone would take 1.7 GB


@linux
def test_reading_and_checking_training_rows_does_not_hold_their_text(tmp_path, capsys) -> None:
    def load(name: str, rows: int) -> tuple[dataset.Data, float]:
        path = tmp_path / f"{name}.csv"
        write_rows(path, rows, 1_000)
        arguments = DataArguments(train_file=str(path), validation_fraction=0.01)
        loaded = dataset.load_splits(arguments, (), training=True, cache_dir=str(tmp_path), token=None)
        list(findings.find_problems(loaded))
        return loaded, path.stat().st_size / MB

    load("short", 1_000)
    before = anonymous_mb()
    loads = []
    peak, _ = peak_of(lambda: loads.append(load("long", 10_000)))
    ((loaded, size),) = loads
    assert len(loaded.splits["train"]) == 9_900
    assert size > 35
    assert peak - before < 0.7 * size
