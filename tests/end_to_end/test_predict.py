"""`python -m bertlab predict`: every way in, every way out, in the order given."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from running import classify, labelled_sentences, predict, predictions, read_json, variant, write_lines

from bertlab.predict import chunks

TEXTS = [text for text, _ in labelled_sentences(9, seed=8)]
PAIRS = list(zip(TEXTS[:4], TEXTS[4:8], strict=True))


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs here are in float32; predict would take bf16 where the processor has AMX."""
    monkeypatch.setattr("bertlab.precision._has_amx", lambda: False)


def _train(folder: Path, model: Path, files: dict[str, Path], **settings: object) -> Path:
    assert classify(folder, model_name_or_path=model, **files, max_steps=2, **settings) == 0
    return folder


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny BERT with weights so large that, untrained, it tells every row from every other."""
    return variant(tiny_model, tmp_path_factory.mktemp("models") / "sharp", initializer_range=0.3)


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    """Return a run on single sentences."""
    folder = tmp_path_factory.mktemp("predict")
    files = {
        "train_file": write_csv(folder / "train.csv", ("text", "label"), labelled_sentences(40, seed=1)),
        "test_file": write_csv(folder / "test.csv", ("text",), [[text] for text in TEXTS]),
    }
    return _train(folder / "run", model, files)


@pytest.fixture(scope="module")
def pair_run(model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    folder = tmp_path_factory.mktemp("predict-pairs")
    rows = [(a, b, y) for (a, y), (b, _) in zip(labelled_sentences(24, 1), labelled_sentences(24, 2), strict=True)]
    files = {
        "train_file": write_csv(folder / "train.csv", ("sentence1", "sentence2", "label"), rows),
        "test_file": write_csv(folder / "test.csv", ("sentence1", "sentence2"), PAIRS),
    }
    return _train(folder / "run", model, files)


def _tsv(capsys) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))


def _good(rows: list[dict[str, str]]) -> list[float]:
    return [float(row["probability_good"]) for row in rows]


def _assert_as_in_the_run(rows: list[dict[str, str]], run: Path) -> None:
    wanted = predictions(run, "test")
    np.testing.assert_allclose(_good(rows), _good(wanted), atol=1e-5)
    assert [row["idx"] for row in rows] == [row["idx"] for row in wanted]
    assert np.ptp(_good(wanted)) > 1e-2, "the model tells rows apart, or this proves nothing"


def test_texts_get_the_probabilities_that_the_run_wrote(run: Path, capsys):
    assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_the_temperature_that_a_run_fitted_is_used(model: Path, run: Path, tmp_path: Path, write_csv, capsys):
    files = {
        "train_file": write_csv(tmp_path / "train.csv", ("text", "label"), labelled_sentences(260, seed=1)),
        "test_file": write_csv(tmp_path / "test.csv", ("text",), [[text] for text in TEXTS]),
    }
    folder = _train(tmp_path / "run", model, files, selection_fraction=0.2)
    assert read_json(folder / "results.json")["temperature"] != pytest.approx(1, abs=0.01)
    capsys.readouterr()
    assert predict(folder, "--format", "tsv", "--text", *TEXTS) == 0
    np.testing.assert_allclose(_good(_tsv(capsys)), _good(predictions(folder, "test")), atol=1e-5)


def test_pairs_get_the_probabilities_that_the_run_wrote(pair_run: Path, capsys):
    given = [word for pair in PAIRS for word in ("--pair", *pair)]
    assert predict(pair_run, "--format", "tsv", *given) == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)


def _write(path: Path, kind: str) -> Path:
    if kind.startswith("txt"):
        text = "".join(f"{line}\n" for line in TEXTS)
    elif kind.startswith("jsonl"):
        text = "".join(json.dumps({"text": line}) + "\n" for line in TEXTS)
    else:
        stream = io.StringIO()
        csv.writer(stream, delimiter="\t" if kind == "tsv" else ",").writerows([["text"], *([t] for t in TEXTS)])
        text = stream.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "jsonl.gz", "txt.gz"])
def test_every_kind_of_file_says_the_same(kind: str, run: Path, tmp_path: Path, capsys):
    assert predict(run, "--format", "tsv", "--file", _write(tmp_path / f"rows.{kind}", kind)) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


@pytest.mark.parametrize("words", [(), ("--file", "-")], ids=["nothing", "dash"])
def test_lines_come_from_standard_input(words: tuple[str, ...], run: Path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{text}\n" for text in TEXTS)))
    assert predict(run, "--format", "tsv", *words) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_a_file_of_pairs_is_read_by_its_columns(pair_run: Path, tmp_path: Path, capsys):
    rows = write_lines(tmp_path / "rows.jsonl", [{"a": a, "b": b} for a, b in PAIRS])
    assert predict(pair_run, "--format", "tsv", "--file", rows, "--text_column_names", "a", "b") == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)


def test_lines_of_pairs_have_a_tab(pair_run: Path, tmp_path: Path, capsys):
    path = tmp_path / "rows.txt"
    path.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS), encoding="utf-8")
    assert predict(pair_run, "--format", "tsv", "--file", path, "--pairs") == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)
    path.write_text(f"{TEXTS[0]}\t{TEXTS[1]}\n{TEXTS[2]}\n", encoding="utf-8")
    assert predict(pair_run, "--file", path, "--pairs") == 2
    assert f"--pairs: there is no tab in the line '{TEXTS[2][:60]}'" in capsys.readouterr().err


def test_json_lines_carry_text_label_and_probabilities(run: Path, capsys):
    assert predict(run, "--format", "jsonl", "--text", *TEXTS) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_table_shows_label_probability_and_text(run: Path, capsys):
    assert predict(run, "--text", *TEXTS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["label", "probability", "text"]
    assert len(lines) == 2 + len(TEXTS)
    for line, text in zip(lines[2:], TEXTS, strict=True):
        label, chance, shown = line.split(maxsplit=2)
        assert label in ("bad", "good")
        assert 0.5 <= float(chance) <= 1
        assert shown.rstrip("…") == text[: len(shown.rstrip("…"))]


def test_batches_by_token_budget_predict_as_one_by_one_does(run: Path, monkeypatch, capsys):
    chances = []
    for budget in (1, 60, 10_000):
        monkeypatch.setattr("bertlab.predictor.TOKENS_PER_BATCH", budget)
        assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
        chances.append(_good(_tsv(capsys)))
    np.testing.assert_allclose(chances[1], chances[0], atol=1e-5)
    np.testing.assert_allclose(chances[2], chances[0], atol=1e-5)


def test_long_input_is_predicted_in_pieces_in_one_order(run: Path, monkeypatch, capsys):
    monkeypatch.setattr("bertlab.predict.ROWS_AT_ONCE", 4)
    assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_a_piece_ends_by_its_rows_or_its_characters(monkeypatch):
    monkeypatch.setattr("bertlab.predict.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("bertlab.predict.CHARACTERS_AT_ONCE", 10)
    rows = [("a",)] * 4 + [("b" * 8, "b" * 8)] * 2 + [("c" * 4,)] * 2
    assert [len(piece) for piece in chunks(iter(rows))] == [3, 2, 1, 2]
    assert list(chunks([])) == []


def test_several_labels_are_a_list_and_may_be_none(model: Path, tmp_path: Path, capsys):
    rows = [{"text": text, "labels": ["a"] if i % 2 else ["a", "b"]} for i, text in enumerate(TEXTS)]
    folder = _train(tmp_path / "run", model, {"train_file": write_lines(tmp_path / "train.jsonl", rows)})
    capsys.readouterr()
    assert predict(folder, "--format", "jsonl", "--text", *TEXTS) == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert row["label"] == [name for name, chance in row["probabilities"].items() if chance >= 0.5]


def test_a_regression_gives_scores(model: Path, tmp_path: Path, capsys):
    rows = [{"text": text, "label": i / 2} for i, text in enumerate(TEXTS)]
    files = {"train_file": write_lines(tmp_path / "train.jsonl", rows), "test_file": tmp_path / "train.jsonl"}
    folder = _train(tmp_path / "run", model, files)
    capsys.readouterr()
    assert predict(folder, "--format", "jsonl", "--text", *TEXTS) == 0
    scores = [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()]
    wanted = [float(row["prediction"]) for row in predictions(folder, "test")]
    np.testing.assert_allclose(scores, wanted, atol=1e-3)


def _refused(capsys, *argv: object) -> str:
    assert predict(*argv) == 2
    told = capsys.readouterr().err
    assert told.count("error: ") == 1
    return told


def test_a_missing_column_is_named_with_the_nearest(run: Path, tmp_path: Path, capsys):
    rows = _write(tmp_path / "rows.csv", "csv")
    assert "no column 'txet'" in _refused(capsys, run, "--file", rows, "--text_column_names", "txet")
    other = write_lines(tmp_path / "rows.jsonl", [{"a": "x", "b": "y"}])
    assert "which column is the text? Name it with --text_column_names: a, b" in _refused(
        capsys, run, "--file", other
    )


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv"])
def test_an_empty_file_is_refused(name: str, run: Path, tmp_path: Path, capsys):
    (tmp_path / name).write_text("" if name.endswith("txt") else "text\n", encoding="utf-8")
    told = _refused(capsys, run, "--file", tmp_path / name)
    assert "nothing to predict" in told or "is empty" in told


def test_empty_standard_input_is_refused(run: Path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n \n"))
    assert "there is nothing to predict" in _refused(capsys, run)


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv"])
def test_a_missing_file_is_refused(name: str, run: Path, tmp_path: Path, capsys):
    assert name in _refused(capsys, run, "--file", tmp_path / name)


def test_a_model_that_is_no_classifier_is_refused(tiny_model: Path, capsys):
    assert "is not a classifier (BertModel). Train it first" in _refused(capsys, tiny_model, "--text", "x")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, capsys):
    assert "no config.json there" in _refused(capsys, tmp_path, "--text", "x")
    assert "no such folder" in _refused(capsys, tmp_path / "none", "--text", "x")


@pytest.mark.parametrize("length", [65, 2])
def test_an_impossible_length_is_refused(length: int, run: Path, capsys):
    assert f"--max_seq_length {length}" in _refused(capsys, run, "--text", "x", "--max_seq_length", length)
