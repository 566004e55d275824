"""`python -m bertlab predict`: every kind of input, every format, in the order given."""

import csv
import gzip
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from running import classify, labelled_sentences, predict, predictions, read_json, save_classifier, write_lines
from transformers import AutoTokenizer, BertForNextSentencePrediction

from bertlab.commands.predict import chunks
from bertlab.inference.torch_predictor import TorchPredictor

TEXTS = [text for text, _ in labelled_sentences(9, seed=8)]
PAIRS = list(zip(TEXTS[:4], TEXTS[4:8], strict=True))


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs here are in float32; predict would take bf16 where the processor has it."""
    monkeypatch.setattr("bertlab.training.precision._cpu_flag", lambda: None)


def _train(folder: Path, model: Path, files: dict[str, Path], **settings: object) -> Path:
    assert classify(folder, model_name_or_path=model, **files, max_steps=2, **settings) == 0
    return folder


@pytest.fixture(scope="module")
def run(sharp_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    """Return a run on single sentences."""
    folder = tmp_path_factory.mktemp("predict")
    files = {
        "train_file": write_csv(folder / "train.csv", ("text", "label"), labelled_sentences(40, seed=1)),
        "test_file": write_csv(folder / "test.csv", ("text",), [[text] for text in TEXTS]),
    }
    return _train(folder / "run", sharp_model, files)


@pytest.fixture(scope="module")
def pair_run(sharp_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Path:
    folder = tmp_path_factory.mktemp("predict-pairs")
    rows = [(a, b, y) for (a, y), (b, _) in zip(labelled_sentences(24, 1), labelled_sentences(24, 2), strict=True)]
    files = {
        "train_file": write_csv(folder / "train.csv", ("sentence1", "sentence2", "label"), rows),
        "test_file": write_csv(folder / "test.csv", ("sentence1", "sentence2"), PAIRS),
    }
    return _train(folder / "run", sharp_model, files)


def _tsv(capsys) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))


def _good(rows: list[dict[str, str]]) -> list[float]:
    return [float(row["probability_good"]) for row in rows]


def _assert_as_in_the_run(rows: list[dict[str, str]], run: Path) -> None:
    expected = predictions(run, "test")
    np.testing.assert_allclose(_good(rows), _good(expected), atol=1e-5)
    assert [row["idx"] for row in rows] == [row["idx"] for row in expected]
    assert np.ptp(_good(expected)) > 1e-2, "the model tells rows apart, or this proves nothing"


def test_texts_get_the_probabilities_that_the_run_wrote(run: Path, capsys):
    assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_unknown_tokens_are_warned_of_with_their_share(run: Path, capsys):
    assert predict(run, "--text", "the 猫 猫 猫", "a dog") == 0
    assert "warning: 50% of the tokens are unknown to this tokenizer" in capsys.readouterr().err


def test_the_temperature_and_the_threshold_that_a_run_fitted_are_used(
    sharp_model: Path, tmp_path: Path, write_csv, capsys
):
    files = {
        "train_file": write_csv(tmp_path / "train.csv", ("text", "label"), labelled_sentences(260, seed=1)),
        "test_file": write_csv(tmp_path / "test.csv", ("text",), [[text] for text in TEXTS]),
    }
    scores = {"metric_name": ["roc_auc", "log_loss"], "metric_for_best_model": "log_loss", "threshold": "cost=9:1"}
    folder = _train(tmp_path / "run", sharp_model, files, selection_fraction=0.2, **scores)
    results = read_json(folder / "results.json")
    assert results["temperature"] != pytest.approx(1, abs=0.01)
    state = read_json(folder / "trainer_state.json")
    assert state["best_metric"] == min(entry.get("eval_log_loss", 9) for entry in state["log_history"])
    chosen = results["threshold"]["classes"]["good"]
    assert results["thresholds"] == pytest.approx([1 - chosen["threshold"], chosen["threshold"]])
    said = f"Threshold of 'good': {chosen['threshold']:.3f}, fitted on 52 selection examples: mean cost 9:1 is"
    assert said in capsys.readouterr().out
    assert predict(folder, "--format", "tsv", "--text", *TEXTS) == 0
    rows, expected = _tsv(capsys), predictions(folder, "test")
    np.testing.assert_allclose(_good(rows), _good(expected), atol=1e-5)
    labels = [row["prediction"] for row in rows]
    assert labels == [row["prediction"] for row in expected]
    assert labels == ["good" if p >= chosen["threshold"] else "bad" for p in _good(expected)]
    assert labels != ["good" if p >= 0.5 else "bad" for p in _good(expected)], "or this proves nothing"
    later = {"model_name_or_path": folder, "do_train": False, "do_predict": True, "test_file": files["test_file"]}
    assert classify(tmp_path / "later", **later) == 0
    assert "was saved with a temperature and thresholds, which are used." in capsys.readouterr().err
    assert predictions(tmp_path / "later", "test") == expected


@pytest.mark.parametrize("labels", [["x|y", "z", "y"], ["0.5", "2.25", "4.75"]], ids=["several labels", "a score"])
def test_a_run_that_does_not_train_reads_texts_as_the_training_did(labels, sharp_model, tmp_path, write_csv, capsys):
    rows = [(text, labels[row % 3]) for row, (text, _) in enumerate(labelled_sentences(24, seed=1))]
    files = {"train_file": write_csv(tmp_path / "train.csv", ("text", "label"), rows)}
    delimiter = {"label_delimiter": "|"} if "x|y" in labels else {}
    folder = _train(tmp_path / "run", sharp_model, files, **delimiter, max_seq_length=5, clean="html")
    test = write_csv(tmp_path / "test.csv", ("text",), [[text] for text in TEXTS])
    later = {"model_name_or_path": folder, "do_train": False, "max_seq_length": None}
    assert classify(tmp_path / "later", **later, do_predict=True, test_file=test) == 0
    said = capsys.readouterr().err
    for flag in (
        "--max_seq_length 5",
        "--clean html",
        f"--problem_type {'regression' if '0.5' in labels else 'multi'}",
    ):
        assert f"info: {flag}" in said
    assert read_json(tmp_path / "later" / "run.json")["configuration"]["max_seq_length"] == 5
    assert predict(folder, "--format", "tsv", "--text", *TEXTS) == 0
    found = predictions(tmp_path / "later", "test")
    for row, expected in zip(_tsv(capsys), found, strict=True):
        assert row["prediction"] == expected["prediction"] or float(row["prediction"]) == pytest.approx(
            float(expected["prediction"]), abs=1e-5
        )
    assert classify(tmp_path / "scored", **later, do_eval=True, validation_file=files["train_file"], **delimiter) == 0
    assert len(predictions(tmp_path / "scored", "validation")) == 24


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


def _type(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize("words", [(), ("--file", "-")], ids=["nothing", "dash"])
def test_lines_come_from_standard_input(words: tuple[str, ...], run: Path, monkeypatch, capsys):
    _type(monkeypatch, "".join(f"{text}\n" for text in TEXTS).encode())
    assert predict(run, "--format", "tsv", *words) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_a_file_of_pairs_is_read_by_its_columns(pair_run: Path, tmp_path: Path, capsys):
    rows = write_lines(tmp_path / "rows.jsonl", [{"a": a, "b": b} for a, b in PAIRS])
    assert predict(pair_run, "--format", "tsv", "--file", rows, "--text_column_names", "a", "b") == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)


@pytest.mark.parametrize("name", ["rows.txt", "rows.tsv"])
def test_lines_of_pairs_have_a_tab(name: str, pair_run: Path, tmp_path: Path, capsys):
    path = tmp_path / name
    path.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS), encoding="utf-8")
    assert predict(pair_run, "--format", "tsv", "--file", path, "--pairs") == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)
    path.write_text(f"{TEXTS[0]}\t{TEXTS[1]}\n{TEXTS[2]}\n", encoding="utf-8")
    assert predict(pair_run, "--file", path, "--pairs") == 2
    assert "line 2: there is no tab" in capsys.readouterr().err


def test_json_lines_carry_text_label_and_probabilities(run: Path, capsys):
    assert predict(run, "--format", "jsonl", "--text", *TEXTS) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    for row in rows:
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_the_table_shows_label_probability_and_text(run: Path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # nothing is wrapped or cut in a pipe
    assert predict(run, "--text", *TEXTS) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["label", "probability", "text"]
    assert len(lines) == 2 + len(TEXTS)
    for line, text in zip(lines[2:], TEXTS, strict=True):
        label, probability, shown = line.split(maxsplit=2)
        assert label in ("bad", "good")
        assert 0.5 <= float(probability) <= 1
        assert shown == " ".join(text.split())


def test_batches_by_token_budget_predict_as_one_by_one_does(run: Path, monkeypatch, capsys):
    probabilities = []
    for budget in (1, 60, 10_000):
        monkeypatch.setattr("bertlab.inference.predictor.TOKENS_PER_BATCH", budget)
        assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
        probabilities.append(_good(_tsv(capsys)))
    np.testing.assert_allclose(probabilities[1], probabilities[0], atol=1e-5)
    np.testing.assert_allclose(probabilities[2], probabilities[0], atol=1e-5)


def test_long_input_is_predicted_in_pieces_in_one_order(run: Path, monkeypatch, capsys):
    monkeypatch.setattr("bertlab.commands.predict.ROWS_AT_ONCE", 4)
    assert predict(run, "--format", "tsv", "--text", *TEXTS) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


def test_a_piece_ends_by_its_rows_or_its_characters(monkeypatch):
    monkeypatch.setattr("bertlab.commands.predict.ROWS_AT_ONCE", 3)
    monkeypatch.setattr("bertlab.commands.predict.CHARACTERS_AT_ONCE", 10)
    rows = [("a",)] * 4 + [("b" * 8, "b" * 8)] * 2 + [("c" * 4,)] * 2
    assert [len(piece) for piece in chunks(iter(rows))] == [3, 2, 1, 2]
    assert list(chunks([])) == []


def test_several_labels_are_a_list_and_may_be_none(sharp_model: Path, tmp_path: Path, capsys):
    rows = [{"text": text, "labels": ["a"] if i % 2 else ["a", "b"]} for i, text in enumerate(TEXTS)]
    folder = _train(tmp_path / "run", sharp_model, {"train_file": write_lines(tmp_path / "train.jsonl", rows)})
    capsys.readouterr()
    assert predict(folder, "--format", "jsonl", "--text", *TEXTS) == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        assert row["label"] == [name for name, probability in row["probabilities"].items() if probability >= 0.5]


def test_a_regression_gives_scores(sharp_model: Path, tmp_path: Path, capsys):
    rows = [{"text": text, "label": i / 2} for i, text in enumerate(TEXTS)]
    files = {"train_file": write_lines(tmp_path / "train.jsonl", rows), "test_file": tmp_path / "train.jsonl"}
    folder = _train(tmp_path / "run", sharp_model, files)
    capsys.readouterr()
    assert predict(folder, "--format", "jsonl", "--text", *TEXTS) == 0
    scores = [json.loads(line)["score"] for line in capsys.readouterr().out.splitlines()]
    expected = [float(row["prediction"]) for row in predictions(folder, "test")]
    np.testing.assert_allclose(scores, expected, atol=1e-3)


def _refused(capsys, *argv: object) -> str:
    assert predict(*argv) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1
    return printed


def test_a_missing_column_is_named_with_the_nearest(run: Path, tmp_path: Path, capsys):
    rows = _write(tmp_path / "rows.csv", "csv")
    assert "no column 'txet'" in _refused(capsys, run, "--file", rows, "--text_column_names", "txet")
    other = write_lines(tmp_path / "rows.jsonl", [{"a": "x", "b": "y"}])
    assert "has the columns a, b: which holds the text? Name it with --text_column_names" in _refused(
        capsys, run, "--file", other
    )


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv"])
def test_an_empty_file_is_refused(name: str, run: Path, tmp_path: Path, capsys):
    (tmp_path / name).write_text("" if name.endswith("txt") else "text\n", encoding="utf-8")
    printed = _refused(capsys, run, "--file", tmp_path / name)
    assert any(message in printed for message in ("nothing to predict", "is empty", "has no rows"))


def test_empty_standard_input_is_refused(run: Path, monkeypatch, capsys):
    _type(monkeypatch, b"")
    assert "standard input is empty" in _refused(capsys, run)
    _type(monkeypatch, b"\n \n")
    assert "there is nothing to predict" in _refused(capsys, run)


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv"])
def test_a_missing_file_is_refused(name: str, run: Path, tmp_path: Path, capsys):
    assert name in _refused(capsys, run, "--file", tmp_path / name)


def test_a_model_that_is_no_classifier_is_refused(tiny_model: Path, capsys):
    assert "is not a classifier (BertModel). Train it first" in _refused(capsys, tiny_model, "--text", "x")


def test_a_model_without_a_trained_head_is_refused(tiny_model: Path, tmp_path: Path, capsys):
    bare = _changed(tiny_model, tmp_path / "bare", "config.json", architectures=["BertForSequenceClassification"])
    error = _refused(capsys, bare, "--text", "one")
    assert f"{bare} holds no classifier.bias, classifier.weight, so its predictions would be random." in error


def test_a_next_sentence_model_of_another_program_reads_pairs(tiny_model: Path, tmp_path: Path, capsys):
    model = BertForNextSentencePrediction.from_pretrained(tiny_model)
    model.save_pretrained(tmp_path / "nsp")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "nsp")
    assert "was trained on pairs, and this is one text a row" in _refused(capsys, tmp_path / "nsp", "--text", "one")
    assert predict(tmp_path / "nsp", "--pair", "one", "two") == 0


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, capsys):
    assert "no config.json there" in _refused(capsys, tmp_path, "--text", "x")
    assert "no such folder" in _refused(capsys, tmp_path / "none", "--text", "x")


@pytest.mark.parametrize("length", [65, 2])
def test_an_impossible_length_is_refused(length: int, run: Path, capsys):
    assert f"--max_seq_length {length}" in _refused(capsys, run, "--text", "x", "--max_seq_length", length)


def _headed(tiny_model: Path, folder: Path, names: list[str], problem_type: str | None) -> Path:
    """Save a classifier with a head of these classes, as from_pretrained's users do, without a run around it."""
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    return save_classifier(tiny_model, folder, problem_type=problem_type, **labels)


def test_a_single_label_of_a_model_of_several_is_no_number(tiny_model: Path, tmp_path: Path, capsys):
    folder = _headed(tiny_model, tmp_path / "one", ["toxic"], "multi_label_classification")
    assert predict(folder, "--format", "jsonl", "--text", "a cat") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["label"] in ([], ["toxic"]) and 0 < printed["probabilities"]["toxic"] < 1
    folder = _headed(tiny_model, tmp_path / "number", ["LABEL_0"], None)
    assert predict(folder, "--format", "jsonl", "--text", "a cat") == 0
    assert "score" in json.loads(capsys.readouterr().out)


def test_a_class_name_with_a_bar_stays_whole(tiny_model: Path, tmp_path: Path, monkeypatch, capsys):
    folder = _headed(tiny_model, tmp_path / "bars", ["a|b", "c"], "multi_label_classification")
    monkeypatch.setattr("bertlab.evaluation.calibration.sigmoid", lambda scores: scores * 0 + 0.9)
    assert predict(folder, "--format", "jsonl", "--text", "a cat") == 0
    assert json.loads(capsys.readouterr().out)["label"] == ["a|b", "c"]


@pytest.mark.parametrize("form", ["jsonl", "tsv", "table"])
def test_a_small_score_keeps_its_digits(form: str, tiny_model: Path, tmp_path: Path, monkeypatch, capsys):
    folder = _headed(tiny_model, tmp_path / "number", ["LABEL_0"], None)
    monkeypatch.setattr(TorchPredictor, "forward", lambda *_: np.array([[1.23456789e-5]]))
    assert predict(folder, "--format", form, "--text", "a cat") == 0
    assert "1.23456789e-05" in capsys.readouterr().out


def _changed(run: Path, copy: Path, name: str, **values: object) -> Path:
    """Copy a run and change values of one of its JSON files."""
    shutil.copytree(run, copy)
    (copy / name).write_text(json.dumps({**read_json(copy / name), **values}), encoding="utf-8")
    return copy


def test_a_checkpoint_is_read_as_its_run_is(run: Path, tmp_path: Path, capsys):
    home = _changed(run, tmp_path / "run", "results.json", temperature=5.0)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (home / "checkpoint-2").mkdir(exist_ok=True)
        shutil.copy(home / name, home / "checkpoint-2" / name)
    configuration = {**read_json(home / "run.json")["configuration"], "max_seq_length": 8}
    (home / "run.json").write_text(json.dumps({**read_json(home / "run.json"), "configuration": configuration}))
    assert predict(home / "checkpoint-2", "--format", "tsv", "--text", *TEXTS) == 0
    printed = capsys.readouterr()
    assert "temperature and thresholds were fitted to its last model, so they are not used" in printed.err
    assert predict(run, "--format", "tsv", "--max_seq_length", "8", "--text", *TEXTS) == 0
    assert printed.out == capsys.readouterr().out
    (home / "run.json").unlink()
    assert predict(home / "checkpoint-2", "--text", TEXTS[0]) == 0
    assert "its run has not ended" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [("run.json", '{"seed"'), ("results.json", "[]")],
)
def test_a_run_that_is_not_whole_is_refused(name: str, content: str, run: Path, tmp_path: Path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content, encoding="utf-8")
    printed = _refused(capsys, tmp_path / "run", "--text", "x")
    assert name in printed and "The run is incomplete" in printed


def test_the_columns_of_a_file_are_those_of_the_training(pair_run: Path, tmp_path: Path, write_csv, capsys):
    rows = write_csv(tmp_path / "usual.csv", ("question", "sentence", "label"), [(a, b, "good") for a, b in PAIRS])
    assert predict(pair_run, "--format", "tsv", "--file", rows) == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)
    home = _changed(pair_run, tmp_path / "run", "run.json", configuration={"text_column_names": ["b", "a"]})
    rows = write_csv(tmp_path / "named.csv", ("a", "b", "text"), [(b, a, "no") for a, b in PAIRS])
    assert predict(home, "--format", "tsv", "--file", rows, "--max_seq_length", 32) == 0
    _assert_as_in_the_run(_tsv(capsys), pair_run)


def test_labels_are_not_read_however_many_columns_have_them(run: Path, tmp_path: Path, write_csv, capsys):
    rows = write_csv(tmp_path / "rows.csv", ("text", "label", "label"), [(text, "a", "b") for text in TEXTS])
    for words in ((), ("--text_column_names", "text")):
        assert predict(run, "--format", "tsv", "--file", rows, *words) == 0
        _assert_as_in_the_run(_tsv(capsys), run)


def test_columns_that_were_joined_are_joined(run: Path, tmp_path: Path, write_csv, capsys):
    joining = {"text_column_names": ["first", "second", "third"], "text_column_delimiter": " "}
    configuration = {**read_json(run / "run.json")["configuration"], **joining}
    home = _changed(run, tmp_path / "run", "run.json", configuration=configuration)
    rows = write_csv(tmp_path / "rows.csv", ("first", "second", "third"), [text.split(" ", 2) for text in TEXTS])
    assert predict(home, "--format", "tsv", "--file", rows) == 0
    _assert_as_in_the_run(_tsv(capsys), run)
    two = write_csv(tmp_path / "two.csv", ("a", "b"), [text.split(" ", 1) for text in TEXTS])
    words = ("--file", two, "--text_column_names", "a", "b")
    assert predict(run, "--format", "jsonl", *words, "--text_column_delimiter", " ") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == TEXTS
    assert "was trained on single texts, and these are pairs" in _refused(capsys, run, *words)


@pytest.mark.parametrize("others", [(), ("",)], ids=["alone", "before an empty column"])
def test_a_first_line_taken_for_a_column_name_is_told(
    others: tuple[str, ...], run: Path, tmp_path: Path, write_csv, capsys
):
    assert predict(run, "--file", write_csv(tmp_path / "plain.csv", (TEXTS[0], *others), [[TEXTS[1], *others]])) == 0
    assert f"its first line, {TEXTS[0]!r}, is taken for the name of the one column." in capsys.readouterr().err
    assert predict(run, "--file", write_csv(tmp_path / "named.csv", ("text",), [[TEXTS[1]]])) == 0
    assert capsys.readouterr().err == ""


def test_a_column_that_is_read_for_want_of_another_is_named(run: Path, tmp_path: Path, write_csv, capsys):
    rows = write_csv(tmp_path / "rows.csv", ("id", "label"), [("1", TEXTS[0])])
    assert predict(run, "--file", rows) == 0
    said = "no column has a usual name, so 'id' is taken for the text. If that is wrong, name another column with"
    assert f"warning: {rows}: {said} --text_column_names, or give another file." in capsys.readouterr().err
    home = _changed(run, tmp_path / "run", "run.json", configuration={"text_column_names": ["Body"]})
    for name, column, warned in (("a", "text", True), ("b", "body", False)):
        rows = write_csv(tmp_path / f"{name}.csv", (column, "label"), [(TEXTS[0], "good")])
        assert predict(home, "--file", rows) == 0
        assert (f"{rows}: there is no column 'Body', so 'text' is taken" in capsys.readouterr().err) is warned
        assert predict(home, "--file", rows, "--text_column_names", column) == 0
        assert capsys.readouterr().err == ""
    beside = write_csv(tmp_path / "c.csv", ("id", "BODY", "title"), [("1", TEXTS[0], "good")])
    assert predict(home, "--file", beside) == 0
    assert capsys.readouterr().err == "", "it is found in any case, as in a file of a run"
    one = write_lines(tmp_path / "one.jsonl", [{"text": TEXTS[0]}])
    assert predict(home, "--file", one) == 0
    assert capsys.readouterr().err == "", "there is no other"


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("header", ["text", '"text"', "text,label", "label\ttext"])
def test_a_txt_with_the_names_of_columns_is_a_table(header: str, is_packed: bool, run: Path, tmp_path: Path, capsys):
    names = re.split("[,\t]", header)
    cells = [",\t"["\t" in header].join(text if "text" in name else "good" for name in names) for text in TEXTS]
    lines = "".join(f"{line}\n" for line in (header, *cells)).encode()
    rows = tmp_path / ("rows.txt.gz" if is_packed else "rows.txt")
    rows.write_bytes(gzip.compress(lines) if is_packed else lines)
    home = _changed(run, tmp_path / "run", "run.json", configuration={"text_column_names": ["text"]})
    for each in (run, home):
        assert predict(each, "--format", "tsv", "--max_seq_length", 64, "--file", rows) == 0
        _assert_as_in_the_run(_tsv(capsys), run)


def test_a_header_on_standard_input_is_warned_of(run: Path, pair_run: Path, tmp_path: Path, monkeypatch, capsys):
    _type(monkeypatch, b"text,label\na cat,good\n")
    assert predict(run) == 0
    said = "warning: standard input, line 1: 'text,label' looks like the names of columns and is read as a text. Take"
    assert said in capsys.readouterr().err
    (tmp_path / "rows.csv").write_text("text,label\na cat,good\n")
    assert predict(run, "--file", tmp_path / "rows.csv") == 0
    assert capsys.readouterr().err == ""
    _type(monkeypatch, b"the text\ntext,label\n")
    assert predict(run) == 0
    assert capsys.readouterr().err == ""
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\na\tb\n")
    assert predict(pair_run, "--file", tmp_path / "pairs.tsv", "--pairs") == 0
    assert "pairs.tsv, line 1: 'sentence1\\tsentence2' looks like the names" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["text_column_names", "text_column_delimiter", "column_names", "delimiter", "quoting"])
@pytest.mark.parametrize("words", [(), ("--file", "-"), ("--text", "a")], ids=["lines", "dash", "typed"])
def test_flags_of_tables_need_a_file(flag: str, words: tuple[str, ...], run: Path, tmp_path: Path, monkeypatch, capsys):
    value = {"delimiter": ",", "text_column_delimiter": " ", "quoting": "none"}.get(flag, "text")
    _type(monkeypatch, b"a cat\n")
    expected = f"--{flag} requires --file: only a file has columns. Save a table and name it with --file."
    assert expected in _refused(capsys, run, *words, f"--{flag}", value)
    (tmp_path / "rows.csv").write_text("a cat\n" if flag == "column_names" else "text\na cat\n")
    assert predict(run, "--file", tmp_path / "rows.csv", f"--{flag}", value) == 0


def test_pairs_and_single_texts_are_told_apart(run: Path, pair_run: Path, tmp_path: Path, capsys):
    assert "was trained on pairs, and this is one text a row" in _refused(capsys, pair_run, "--text", "only one")
    assert "was trained on single texts" in _refused(capsys, run, "--pair", "a", "b")
    lines = _write(tmp_path / "rows.txt", "txt")
    assert "is no next-sentence model" in _refused(capsys, pair_run, "--rank", "a", "--file", lines)


def test_only_one_way_in_is_taken(run: Path, tmp_path: Path, capsys):
    lines, rows = (_write(tmp_path / f"rows.{kind}", kind) for kind in ("txt", "csv"))
    text = ("--text", "hello")
    assert "--text conflicts with --pair: only one" in _refused(capsys, run, *text, "--pair", "a", "b")
    assert "--text conflicts with --file: only one" in _refused(capsys, run, *text, "--file", rows)
    assert "--text conflicts with --rank: only one" in _refused(capsys, run, *text, "--rank", "a", "--file", lines)
    ranking = ("--rank", "a", "--file", lines, "--format", "jsonl")
    assert "--rank conflicts with --format jsonl: it pairs" in _refused(capsys, run, *ranking)
    assert "--text needs a value. Texts to label." in _refused(capsys, run, "--text", "a", "")
    assert "--pair: ' ' is no text. Give one" in _refused(capsys, run, "--pair", " ", "a")
    assert "--rank needs a value. Rank the lines" in _refused(capsys, run, "--rank", "", "--file", lines)
    assert "--text conflicts with --pairs: only one" in _refused(capsys, run, *text, "--pairs")
    assert "--pairs reads lines of text, and" in _refused(capsys, run, "--pairs", "--file", rows)
    assert "--rank reads lines of text, and" in _refused(capsys, run, "--rank", "a", "--file", rows)


@pytest.mark.parametrize("name", ["rows.TXT", "rows", "rows.gz", "packed.zip"])
def test_lines_are_known_by_the_suffix_inside(name: str, run: Path, tmp_path: Path, capsys):
    lines = _write(tmp_path / "lines.txt", "txt").read_bytes()
    if name.endswith("zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("lines.txt", lines)
    else:
        (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith("gz") else lines)
    assert predict(run, "--format", "tsv", "--file", tmp_path / name) == 0
    _assert_as_in_the_run(_tsv(capsys), run)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.txt", "a cat\n\n \na dog\n"),
        ("rows.csv", "id,text\n1,a cat\n2,\n3\n4,a dog\n"),
        ("rows.jsonl", '{"text": "a cat"}\n{"text": null}\n{"id": 3}\n{"text": "a dog"}\n'),
    ],
)
def test_a_row_without_text_has_an_empty_prediction(name: str, content: str, run: Path, tmp_path: Path, capsys):
    (tmp_path / name).write_text(content, encoding="utf-8")
    for form in ("table", "tsv", "jsonl"):
        assert predict(run, "--file", tmp_path / name, "--format", form) == 0
        printed = capsys.readouterr()
        fields = " or with too few or too many fields" * name.endswith("csv")
        assert f"2 of 4 rows without text{fields} have an empty prediction" in printed.err
        if form == "tsv":
            rows = list(csv.DictReader(io.StringIO(printed.out), delimiter="\t"))
            assert [bool(row["prediction"]) for row in rows] == [True, False, False, True]
            assert [bool(row["probability_good"]) for row in rows] == [True, False, False, True]
        elif form == "jsonl":
            assert [json.loads(line)["label"] is None for line in printed.out.splitlines()] == [
                False,
                True,
                True,
                False,
            ]
    place = {"rows.txt": "line 2: the text", "rows.csv": "line 3: the text", "rows.jsonl": "line 2: the text"}[name]
    assert place in _refused(capsys, run, "--file", tmp_path / name, "--on_missing", "error")


def test_rows_without_a_prediction_alone_are_refused(run: Path, tmp_path: Path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text("id,text\n1,a,cat\n2,a,dog\n", encoding="utf-8")
    said = "there is nothing to predict: every row is without text or with too few or too many fields."
    assert f"{said} Pass --on_missing error to see what is wrong with the first." in _refused(
        capsys, run, "--file", rows
    )
    said = "rows.csv, line 2: 3 fields, expected 2 (id, text)."
    assert said in _refused(capsys, run, "--file", rows, "--on_missing", "error")


def test_a_cell_that_is_no_text_is_refused(run: Path, tmp_path: Path, capsys):
    rows = write_lines(tmp_path / "rows.jsonl", [{"text": "a cat"}, {"text": ["a"]}])
    assert "rows.jsonl, line 2: 'text' holds a list" in _refused(capsys, run, "--file", rows)


def test_a_pair_with_one_half_has_an_empty_prediction(pair_run: Path, tmp_path: Path, capsys):
    half = tmp_path / "half.txt"
    half.write_text("one\ttwo\none\t \n")
    assert predict(pair_run, "--file", half, "--pairs", "--format", "tsv") == 0
    assert [bool(row["prediction"]) for row in _tsv(capsys)] == [True, False]


def test_a_part_that_is_missing_is_left_out_of_a_join(run: Path, tmp_path: Path, capsys):
    (tmp_path / "rows.csv").write_text("title,body\na cat,sings\n,sings\n,\n", encoding="utf-8")
    columns = ("--text_column_names", "title", "body", "--text_column_delimiter", " ")
    assert predict(run, "--file", tmp_path / "rows.csv", *columns, "--format", "jsonl") == 0
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines()] == ["a cat sings", "sings", ""]


def test_what_is_no_text_is_refused(run: Path, monkeypatch, capsys):
    _type(monkeypatch, b"good\n\xff\xfe bad\n")
    assert "standard input, line 2: not utf-8 text: byte 0xff" in _refused(capsys, run)
    _type(monkeypatch, b"good\nb\0d\n")
    assert "standard input, line 2: a NUL character" in _refused(capsys, run)
    for words in ("--text", "a cat", "\udcff bad"), ("--pair", "a", "\udcff"), ("--rank", "\udcff"):
        assert f"{words[0]}: '\\udcff" in _refused(capsys, run, *words)


def test_the_encoding_and_the_quoting_of_a_file_are_used(run: Path, tmp_path: Path, capsys):
    (tmp_path / "latin.txt").write_bytes("café\n".encode("latin-1"))
    assert "--encoding latin-1" in _refused(capsys, run, "--file", tmp_path / "latin.txt")
    assert predict(run, "--file", tmp_path / "latin.txt", "--encoding", "latin-1") == 0
    assert "café" in capsys.readouterr().out
    (tmp_path / "rows.csv").write_text('text\n"a" cat\n', encoding="utf-8")
    assert "--quoting none" in _refused(capsys, run, "--file", tmp_path / "rows.csv")
    assert predict(run, "--file", tmp_path / "rows.csv", "--quoting", "none") == 0
    assert '"a" cat' in capsys.readouterr().out
    configuration = {**read_json(run / "run.json")["configuration"], "quoting": "none"}
    home = _changed(run, tmp_path / "run", "run.json", configuration=configuration)
    assert predict(home, "--file", tmp_path / "rows.csv") == 0
