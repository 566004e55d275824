"""`from bertlab import train, Predictor`: the same run and the same predictions as the command line's."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from running import drawing, labelled_sentences, predict, read_json

import bertlab
from bertlab.api import Run
from bertlab.errors import UserError

TEXTS = [text for text, _ in labelled_sentences(6, seed=8)]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> Run:
    folder = tmp_path_factory.mktemp("api")
    with drawing(False):
        return bertlab.train(
            train_file=write_csv(folder / "train.csv", ("text", "label"), labelled_sentences(40, seed=1)),
            validation_file=write_csv(folder / "dev.csv", ("text", "label"), labelled_sentences(20, seed=2)),
            model_name_or_path=tiny_model,
            output_dir=folder / "run",
            max_steps=2,
            metric_name=["accuracy", "matthews_correlation"],
            max_seq_length=32,
            precision="fp32",
            lr_scheduler_type="polynomial",
            lr_scheduler_kwargs={"power": np.float32(2)},
            run_name=None,
            save_strategy="no",
            disable_tqdm=True,
        )


def test_a_run_has_its_folder_and_its_scores(run: Run) -> None:
    assert run.results == read_json(run.output_dir / "results.json")
    configuration = read_json(run.output_dir / "run.json")["configuration"]
    assert configuration["disable_tqdm"] is True
    assert json.loads(configuration["lr_scheduler_kwargs"]) == {"power": 2.0}
    scores = run.scores.set_index("metric")
    assert scores.index.tolist() == ["accuracy", "Matthews correlation"]
    assert scores.loc["accuracy", "score"] == run.results["splits"]["validation"]["metrics"]["accuracy"]["value"]
    assert "<table" in run._repr_html_()
    assert "validation" in str(run)


def test_the_predictor_says_what_the_command_says(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    frame = bertlab.Predictor(run.output_dir)(TEXTS)
    capsys.readouterr()
    assert predict(run.output_dir, "--format", "jsonl", "--text", *TEXTS) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert frame["text"].tolist() == TEXTS
    assert frame["label"].tolist() == [line["label"] for line in lines]
    for name in run.results["class_names"]:
        expected = [line["probabilities"][name] for line in lines]
        np.testing.assert_allclose(frame[f"probability_{name}"], expected, atol=1e-6)


def test_no_texts_are_no_rows_of_the_same_columns(run: Run) -> None:
    predictor = bertlab.Predictor(run.output_dir)
    assert predictor([]).columns.tolist() == predictor(TEXTS).columns.tolist()


def test_predictions_of_a_series_have_its_index(run: Run) -> None:
    table = pandas.DataFrame({"text": TEXTS}).iloc[[4, 1, 3]]
    predictor = bertlab.Predictor(run.output_dir)
    table["good"] = predictor(table["text"])["probability_good"]
    assert table["good"].tolist() == predictor(table["text"].tolist())["probability_good"].tolist()


def test_rows_of_arrays_are_read_as_lists(run: Run) -> None:
    predictor = bertlab.Predictor(run.output_dir)
    expected = predictor(TEXTS)
    pandas.testing.assert_frame_equal(predictor(np.array(TEXTS)), expected)
    pandas.testing.assert_frame_equal(predictor(np.array([[text] for text in TEXTS])), expected)
    pandas.testing.assert_frame_equal(predictor(text for text in TEXTS), expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "takes a list of texts"),
        (["one", ("two", "three")], "takes a list of texts"),
        (["one", None], "row 1 holds None"),
        ([1, 2], "row 0 holds 1"),
        (["one", "\ud800"], "row 1 holds"),
        (None, "this is None"),
        ({"text": "one"}, "this is a table"),
        (pandas.DataFrame({"text": ["one"]}), "this is a table"),
        ([("one", "two", "three")], "row 0 has 3 texts"),
        ([()], "row 0 has 0 texts"),
        ([("two", "three")], r"was trained on single texts.* Write predictor\("),
    ],
)
def test_what_the_model_cannot_read_is_a_user_error(run: Run, texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bertlab.Predictor(run.output_dir)(texts)


def test_what_the_command_line_refuses_is_a_user_error(run: Run) -> None:
    with pytest.raises(UserError, match="Did you mean 'cola'"):
        bertlab.train(task="colla")
    with pytest.raises(UserError, match="no such flag"):
        bertlab.train(task="cola", learning_rat=1e-4)
    with pytest.raises(UserError, match="would train nothing"):
        bertlab.train(task="cola", print_config=True)
    with pytest.raises(UserError, match="would train nothing"):
        bertlab.train(help=True)
    with pytest.raises(UserError, match="is DataFrame, which no flag takes"):
        bertlab.train(train_file=pandas.DataFrame({"text": TEXTS}))
    with pytest.raises(UserError, match="is ndarray, which no flag takes"):
        bertlab.train(task="cola", lr_scheduler_kwargs={"power": np.ones(2)})
    with pytest.raises(UserError, match="abstain_below 2: it is a probability"):
        bertlab.Predictor(run.output_dir, abstain_below=2)


def test_a_keyword_of_next_sentence_prediction_makes_such_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.txt"):
        bertlab.train(text=[tmp_path / "missing.txt"], output_dir=tmp_path / "run")
