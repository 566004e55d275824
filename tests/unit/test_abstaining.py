"""Predictions left empty below a confidence: what they cost on the run's own split, and how they are printed."""

import json

import numpy as np
import pandas
import pytest
from finished_runs import finished_run

from bertlab.api import Predictor as PythonPredictor
from bertlab.commands import predict
from bertlab.data.labels import MULTI, SINGLE
from bertlab.inference import loading
from bertlab.inference.inference_config import InferenceConfig
from bertlab.inference.predictor import Predictor

LOGITS = {"sure": [3.0, 0.0], "unsure": [0.4, 0.0], "the other": [0.0, 2.0]}


class Lookup(Predictor):
    """A predictor whose logits are in a table."""

    def forward(self, batch):
        raise NotImplementedError

    def logits(self, rows):
        return np.array([LOGITS[text] for (text,) in rows]).reshape(-1, 2)


@pytest.fixture
def load(monkeypatch):
    def with_config(**config):
        predictor = Lookup(tokenizer=None, config=InferenceConfig(("bad", "good"), **config))
        monkeypatch.setattr(loading, "_load", lambda arguments, max_seq_length: predictor)
        monkeypatch.setattr(predict, "_warn_if_unknown", lambda predictor, rows: None)

    return with_config


def run(capsys, *argv):
    status = predict.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_what_is_unsure_is_empty_and_counted_and_its_cost_is_that_of_the_runs_predictions(tmp_path, capsys, load):
    folder = finished_run(tmp_path / "run", rows=300)
    load()
    status, out, err = run(capsys, folder, "--text", *LOGITS, "--format", "jsonl", "--abstain_below", "0.8")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["label"] for line in lines] == ["bad", None, "good"]
    assert lines[1]["probabilities"] == {"bad": pytest.approx(0.598688), "good": pytest.approx(0.401312)}
    assert "1 of 3 predictions are below --abstain_below 0.8 and empty." in err
    rows = pandas.read_csv(folder / "predictions" / "validation.tsv", sep="\t")
    confidence = rows.filter(like="probability_").max(axis=1)
    correct = rows["label"] == rows["prediction"]
    kept = confidence >= 0.8
    assert 0.2 < kept.mean() < 0.9
    assert (
        f"on validation (300 examples), 0.8 keeps {kept.mean():.1%} of the predictions; {correct[kept].mean():.1%} of "
        f"these are correct, and {correct.mean():.1%} of all."
    ) in err


def test_where_nothing_is_kept_no_share_of_it_is_correct(tmp_path, capsys, load):
    folder = finished_run(tmp_path / "run", rows=300)
    load()
    err = run(capsys, folder, "--text", "sure", "--abstain_below", "1")[2]
    rows = pandas.read_csv(folder / "predictions" / "validation.tsv", sep="\t")
    correct = (rows["label"] == rows["prediction"]).mean()
    assert f"on validation (300 examples), 1 keeps none of the predictions; {correct:.1%} of all are correct." in err


def test_a_threshold_decides_before_the_confidence_does(capsys, load, tmp_path):
    load(thresholds=(0.7, 0.3))
    status, out, err = run(capsys, tmp_path, "--text", *LOGITS, "--format", "tsv")
    assert [line.split("\t")[1] for line in out.splitlines()[1:]] == ["bad", "good", "good"]
    assert (status, err) == (0, "")
    _, out, err = run(capsys, tmp_path, "--text", *LOGITS, "--abstain_below", "0.5")
    shown = [line.split() for line in out.splitlines()[2:]]
    assert shown == [["bad", "0.9526", "sure"], ["0.4013", "unsure"], ["good", "0.8808", "the", "other"]]
    assert f"{tmp_path} has no predictions of an evaluation split, so what it costs is not known" in err


def test_python_abstains_as_well(load):
    load(problem_type=SINGLE)
    assert PythonPredictor("model", abstain_below=0.8)(list(LOGITS))["label"].tolist() == ["bad", "", "good"]
    assert PythonPredictor("model")(list(LOGITS))["label"].tolist() == ["bad", "bad", "good"]


def test_several_labels_cannot_abstain(capsys, load):
    load(problem_type=MULTI)
    status, _, err = run(capsys, "model", "--text", "sure", "--abstain_below", "0.8")
    assert status == 2 and "abstain_below is for one class a row, and model is a model for multi_label" in err
