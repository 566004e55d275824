"""A run exported as ONNX gives PyTorch's logits, from its folder alone; what cannot be exported is refused."""

import ast
import importlib.util
import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from nsp_runs import pretrain, write_text
from running import classify, labelled_sentences, predict, read_json, subprocess_of

from bertlab.__main__ import main
from bertlab.commands import export
from bertlab.errors import UserError
from bertlab.evaluation.calibration import softmax
from bertlab.inference.inference_config import InferenceConfig, InputFormat
from bertlab.inference.onnx_predictor import MODEL
from bertlab.report.run_folder import RunFolder

ABSENT = [name for name in export.NEEDED if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(ABSENT), reason=f"needs {', '.join(ABSENT)}: make test-onnx")
TEXTS = ["a boy reads a good film", "the dog walks", "a bad story in the night on the street often never " * 9]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, write_csv):
    """Return a finished run on single sentences, with a labelled validation split."""
    folder = tmp_path_factory.mktemp("export")
    files = {
        f"{stem}_file": write_csv(folder / f"{stem}.csv", ("text", "label"), labelled_sentences(rows, seed=rows))
        for stem, rows in (("train", 32), ("validation", 40))
    }
    settings = {"model_name_or_path": tiny_model, "num_train_epochs": 1, "save_strategy": "no"}
    assert classify(folder / "run", **files, **settings) == 0
    return folder / "run"


@pytest.fixture
def run_with_threshold(run, tmp_path):
    """Return a copy of the run with a threshold that tells TEXTS apart."""
    folder = shutil.copytree(run, tmp_path / "run")
    # Between the texts: at the probability of one, rounding would decide.
    good = float(np.sort(softmax(torch_logits(run, TEXTS))[:, 1])[-2:].mean())
    results = {**read_json(run / "results.json"), "thresholds": [1 - good, good]}
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def exported(run, output, *more):
    return main(["export", str(run), "--format", "onnx", "--output", str(output), *map(str, more)])


def logits(folder, texts):
    """Return the logits of texts from an exported model (rows, classes), with nothing but its folder."""
    import onnxruntime
    from transformers import AutoTokenizer

    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    limits = {"truncation": True, "max_length": int(metadata["max_seq_length"])}
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="np", **limits)
    return session.run(None, {one.name: batch[one.name].astype(np.int64) for one in session.get_inputs()})[0]


def torch_logits(run, texts):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    batch = AutoTokenizer.from_pretrained(run)(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.inference_mode():
        return AutoModelForSequenceClassification.from_pretrained(run).eval()(**batch).logits.numpy()


@needs_onnx
def test_the_exported_model_is_usable_alone_and_says_the_same(run_with_threshold, tmp_path, capsys, monkeypatch):
    run = run_with_threshold
    output = tmp_path / "alone"
    assert exported(run, output) == 0
    assert "Logits differ from PyTorch's by at most" in capsys.readouterr().out
    report = read_json(output / export.REPORT)
    assert report["parity"]["largest_difference"] <= export.TOLERANCE and report["parity"]["texts"] == "validation"
    for texts in (TEXTS, TEXTS[:1], TEXTS * 5):
        assert np.abs(logits(output, texts) - torch_logits(run, texts)).max() < 1e-5
    program = (output / "README.md").read_text(encoding="utf-8").split("```")[1].removeprefix("python\n")
    monkeypatch.chdir(output)
    exec(program, {})
    assert set(ast.literal_eval(capsys.readouterr().out)) <= {"bad", "good"}
    texts = "texts = (['The first text.', 'And another one, a little longer.'],)".replace("'", '"')
    assert texts in program
    exec(program.replace(texts, f"texts = ({TEXTS!r},)"), {})
    labels = ast.literal_eval(capsys.readouterr().out)
    assert set(labels) == {"bad", "good"}
    for model in (run, output):
        assert predict(model, "--text", *TEXTS, "--format", "jsonl") == 0
        assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == labels
    assert exported(run, output) == 2
    assert "is not empty" in capsys.readouterr().err
    assert_predict_labels_alike(run, output, capsys)


def assert_predict_labels_alike(run, output, capsys):
    """`predict` takes the folder as it takes a run, and does without torch."""
    assert predict(output, "--text", *TEXTS, "--format", "jsonl") == 0
    found = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    expected = softmax(torch_logits(run, TEXTS))
    np.testing.assert_allclose([[row["bad"], row["good"]] for row in found], expected, atol=2e-6)
    words = ["predict", str(output), "--text", "a boy reads"]
    program = f"import sys; from bertlab.__main__ import main; main({words!r}); print('torch' in sys.modules)"
    assert subprocess_of([sys.executable, "-c", program]).stdout.splitlines()[-1] == "False"
    assert predict(output, "--text", "a boy", "--max_seq_length", "100000") == 2
    assert "--max_seq_length 100000: the model has 64 positions" in capsys.readouterr().err
    unnamed = output.parent / "unnamed"
    shutil.copytree(output, unnamed)
    import onnx

    model = onnx.load(unnamed / MODEL)
    del model.metadata_props[:]
    onnx.save(model, unnamed / MODEL)
    assert predict(unnamed, "--text", "a boy") == 2
    assert "does not say what its outputs mean. Make it with" in capsys.readouterr().err
    (unnamed / MODEL).write_bytes(b"no model")
    assert predict(unnamed, "--text", "a boy") == 2
    error = capsys.readouterr().err
    assert "model.onnx cannot be read" in error and error.count("\n") == 1


@needs_onnx
def test_joined_columns_are_joined_for_an_exported_model_too(tmp_path, tiny_model, write_csv, capsys):
    rows = [(*text.split(" ", 1), label) for text, label in labelled_sentences(32, seed=1)]
    table = write_csv(tmp_path / "rows.csv", ("title", "body", "label"), rows)
    joining = {"text_column_names": ["title", "body"], "text_column_delimiter": " - "}
    settings = {"model_name_or_path": tiny_model, "num_train_epochs": 1, "save_strategy": "no"}
    assert classify(tmp_path / "run", train_file=table, validation_file=table, **joining, **settings) == 0
    assert exported(tmp_path / "run", tmp_path / "onnx") == 0
    capsys.readouterr()
    results = []
    for model in (tmp_path / "run", tmp_path / "onnx"):
        assert predict(model, "--file", table, "--format", "jsonl", "--max_seq_length", "32") == 0
        results.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    ours, exports = results
    assert exports[0]["text"] == " - ".join(rows[0][:2])
    assert [row["text"] for row in exports] == [row["text"] for row in ours]
    probabilities = [[list(row["probabilities"].values()) for row in rows] for rows in results]
    np.testing.assert_allclose(
        probabilities[1], probabilities[0], atol=0.02
    )  # PyTorch computes in 16 bits where it can
    readme = (tmp_path / "onnx" / "README.md").read_text(encoding="utf-8")
    assert 'A text is the columns `title`, `body`, in this order, joined with " - ".' in readme


def test_an_exported_model_names_what_it_needs(tmp_path, capsys, monkeypatch):
    (tmp_path / MODEL).write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert predict(tmp_path, "--text", "a boy") == 2
    assert "needs ONNX Runtime, which is not installed. pip install onnxruntime" in capsys.readouterr().err


def test_the_score_of_int8_is_compared_over_groups_as_that_of_the_run():
    """20 groups of 10 equal rows say less than 200 rows."""
    from datasets import Dataset

    from bertlab.data.labels import SINGLE, LabelSchema

    labels = np.repeat(np.arange(20) % 2, 10)
    wrong = np.repeat(np.arange(20) % 5 == 0, 10)

    def model(predicted):
        return SimpleNamespace(
            logits=lambda rows: np.eye(2)[predicted[: len(rows)]],
            config=SimpleNamespace(thresholds=(), temperature=1.0),
        )

    widths = []
    for groups in ({}, {"group": np.repeat(np.arange(20), 10).astype(str).tolist()}):
        split = Dataset.from_dict({"text": ["a text"] * 200, **groups})
        data = SimpleNamespace(
            schema=LabelSchema(SINGLE, ("no", "yes"), {}),
            metrics=("accuracy",),
            splits={"test": split},
            text_is_group=False,
        )
        scored = export.ScoredSplit("test", [("a text",)] * 200, labels, data)
        found = export._score(model(labels), model(np.where(wrong, 1 - labels, labels)), scored, labels)
        widths.append(found["metrics"]["accuracy"]["high"] - found["metrics"]["accuracy"]["low"])
    assert widths[1] > 2 * widths[0]


@needs_onnx
def test_int8_is_smaller_and_its_score_is_told(run, tmp_path, capsys):
    output = tmp_path / "int8"
    assert exported(run, output, "--quantize", "int8") == 0
    report = read_json(output / export.REPORT)
    assert report["megabytes"] < report["megabytes_fp32"]
    assert [path.name for path in output.glob("*.onnx")] == [MODEL]
    results = read_json(run / "results.json")["splits"]["validation"]["metrics"]
    for name, one in report["score"]["metrics"].items():
        assert one["before"] == pytest.approx(results[name]["value"]) and one["n"] == 40
        assert one["difference"] == pytest.approx(one["after"] - one["before"]) and one["verdict"]
    assert "predictions changed" in capsys.readouterr().out
    (run.parent / "validation.csv").rename(run.parent / "moved.csv")
    try:
        assert exported(run, tmp_path / "again", "--quantize", "int8") == 2
        assert "the data to measure it on is not at hand" in capsys.readouterr().err
    finally:
        (run.parent / "moved.csv").rename(run.parent / "validation.csv")


@needs_onnx
def test_the_benchmark_times_every_engine_on_the_same_rows(run, tmp_path):
    from benchmarks import export as benchmark

    output = tmp_path / "export.json"
    assert benchmark.main(["--run", str(run), "--rounds", "1", "--output", str(output)]) == 0
    report = read_json(output)
    assert report["score"]["changed"] >= 0
    for regime in ("batched", "one_by_one"):
        assert {"torch fp32", "onnx fp32", "onnx int8"} <= set(report["speed"][regime])
        assert report["speed"][regime]["torch fp32"]["ratio"] == 1


@needs_onnx
def test_a_next_sentence_run_is_exported_on_its_own_pairs(tmp_path, tiny_model):
    settings = {"text": write_text(tmp_path / "text.txt"), "model_name_or_path": tiny_model, "num_train_epochs": 1}
    assert pretrain(tmp_path / "run", **settings, validation_fraction=0.2) == 0
    assert exported(tmp_path / "run", tmp_path / "onnx") == 0
    report = read_json(tmp_path / "onnx" / export.REPORT)
    assert report["parity"]["largest_difference"] <= export.TOLERANCE and report["parity"]["texts"] == "validation"


@needs_onnx
def test_logits_that_differ_leave_nothing_behind(run, tmp_path, capsys, monkeypatch):
    from bertlab.inference import onnx_export

    monkeypatch.setattr(onnx_export, "largest_difference", lambda *_: 0.5)
    monkeypatch.setattr(onnx_export, "export_onnx", lambda _, folder: (folder / "half.onnx").write_bytes(b"half"))
    monkeypatch.setattr(export.onnx_predictor, "load_onnx_predictor", lambda _: None)
    assert exported(run, tmp_path / "wrong") == 2
    assert "differ from PyTorch's by up to 0.5, more than --tolerance 0.0001" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_larger_tolerance_takes_logits_that_differ(monkeypatch):
    from bertlab.inference import onnx_export

    monkeypatch.setattr(onnx_export, "largest_difference", lambda *_: 0.5)
    model = SimpleNamespace(tokenize=lambda rows: [{"input_ids": [1]} for _ in rows])
    with pytest.raises(UserError, match="Pass a larger --tolerance"):
        export._parity(model, model, ["a"], 1e-4)
    assert export._parity(model, model, ["a"], 0.6)["largest_difference"] == 0.5


def test_the_extra_is_named_where_it_is_absent(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "NEEDED", ("onnx_that_nobody_has",))
    assert exported(run, tmp_path / "out") == 2
    assert "not installed here. pip install onnx_that_nobody_has" in capsys.readouterr().err


def test_what_cannot_be_exported_is_refused(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(export, "NEEDED", ())

    def refused(folder, output, *more):
        assert exported(folder, output, *more) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and message.count("\n") == 1
        return message

    assert "is not a finished run" in refused(tmp_path, tmp_path / "out")
    assert "must be a folder" in refused(run, tmp_path / "model.onnx")
    assert "is not empty" in refused(run, run)
    assert "holds no earlier export" in refused(run, run, "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep", encoding="utf-8")
    assert "is not empty" in refused(run, tmp_path / "mine")
    assert "holds no earlier export" in refused(run, tmp_path / "mine", "--overwrite")
    assert (tmp_path / "mine" / "letter.txt").read_text(encoding="utf-8") == "keep"
    assert "letter.txt cannot be written: " in refused(run, tmp_path / "mine" / "letter.txt" / "onnx")
    assert "--tolerance: -1 is out of range. It must be at least 0." in refused(run, tmp_path / "out", "--tolerance=-1")
    (tmp_path / "mine" / export.REPORT).touch()
    for folder, overwrite in (("free", False), ("mine", True)):
        export._check(RunFolder.read(run), tmp_path / folder, SimpleNamespace(overwrite=overwrite))
    error = refused(run, tmp_path / "out", "--quantize", "int4")
    assert "--quantize: 'int4' is not one of its values. Did you mean 'int8'?" in error


def test_the_metadata_of_an_exported_model_are_all_that_its_predictions_depend_on(run):
    from bertlab.cli.arguments import ModelArguments
    from bertlab.inference import torch_predictor

    config = torch_predictor.load_torch_predictor(ModelArguments(model_name_or_path=str(run))).config
    metadata = config.to_metadata()
    assert json.loads(metadata["class_names"]) == ["bad", "good"] and metadata["max_seq_length"] == "32"
    assert metadata["problem_type"] == "single_label_classification" and config.temperature > 0
    assert InferenceConfig.from_metadata(metadata) == replace(config, precision=None)
    # Files of earlier versions call the input format `reading`, or have none.
    reading = metadata.pop("input_format")
    assert InferenceConfig.from_metadata({**metadata, "reading": reading}).input_format.pairs is False
    assert InferenceConfig.from_metadata(metadata).input_format == InputFormat()


def test_what_onnx_runtime_cannot_run_is_refused_in_one_line():
    message = "^ONNX Runtime cannot run the exported model: bad dimensions; nothing was"
    with pytest.raises(UserError, match=message), export._onnx_runtime_errors():
        raise RuntimeError("bad dimensions.\nInput: input_ids")
