"""A run over streamed rows equals one over the same rows read whole, under any batch layout, also when resumed."""

from pathlib import Path

import pytest
from forking import forked
from running import (
    QUIET,
    classify,
    farthest,
    history,
    interrupted_after,
    labelled_sentences,
    predictions,
    read_json,
    results,
    to_argv,
)

import run_classification

pytestmark = pytest.mark.slow

STEPS = {"streaming": True, "max_steps": 6, "class_names": ["bad", "good"], "learning_rate": 5e-3}
STEPS |= {"per_device_train_batch_size": 16, "logging_steps": 1, "seed": 7}


@pytest.fixture(scope="module")
def train(sentences: dict[str, Path]) -> Path:
    """Return a file of 70 rows, which batches of 16 do not divide."""
    return sentences["train_file"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory, write_csv) -> dict[str, Path]:
    """Return a validation file of one row, too few for two processes, and a test file of three."""
    folder = tmp_path_factory.mktemp("few")
    return {
        f"{name}_file": write_csv(folder / f"{name}.csv", ("text", "label"), labelled_sentences(rows, seed=rows))
        for name, rows in (("validation", 1), ("test", 3))
    }


@pytest.fixture(scope="module")
def long(still_model: Path, train: Path, few, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of 6 steps of 16 rows: beyond the end of the file, in shuffled and grouped buffers."""
    folder = tmp_path_factory.mktemp("long") / "run"
    assert classify(folder, model_name_or_path=still_model, train_file=train, **few, **STEPS) == 0
    return folder


def _assert_same_run(one: Path, other: Path) -> None:
    assert history(one, "loss") == pytest.approx(history(other, "loss"), abs=1e-5)
    assert history(one, "grad_norm") == pytest.approx(history(other, "grad_norm"), abs=1e-5)
    assert farthest(one, other) < 1e-5


def test_a_stream_trains_as_the_same_file_does_read_whole(still_model, train: Path, tmp_path: Path):
    common = {"model_name_or_path": still_model, "train_file": train}
    # 4 steps of 16 rows are within the first pass, whose last batch of 6 a stream fills from the next.
    steps = {**STEPS, "max_steps": 4}
    assert classify(tmp_path / "stream", **common, **steps, shuffle_buffer=0) == 0
    whole = {**steps, "streaming": False, "train_sampling_strategy": "sequential"}
    assert classify(tmp_path / "whole", **common, **whole) == 0
    _assert_same_run(tmp_path / "stream", tmp_path / "whole")
    assert results(tmp_path / "stream")["train_samples"] == 64
    assert read_json(tmp_path / "stream" / "run.json")["streamed_from"] == "train.csv"


def test_a_stream_does_not_depend_on_accumulation(long: Path, still_model, train: Path, tmp_path: Path):
    layout = {**STEPS, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert classify(tmp_path / "run", model_name_or_path=still_model, train_file=train, **layout) == 0
    _assert_same_run(tmp_path / "run", long)


def test_two_processes_share_a_stream_and_the_few_rows_they_evaluate(
    long: Path, still_model, train: Path, few, tmp_path: Path
):
    """Each row of a batch is seen by one of them, or loss and weights would be others."""
    settings = {**QUIET, **STEPS, **few, "model_name_or_path": still_model, "train_file": train}
    settings |= {"output_dir": tmp_path / "run", "per_device_train_batch_size": 8}
    forked(run_classification.main, to_argv(settings), tmp_path)
    assert read_json(tmp_path / "run" / "run.json")["plan"]["world_size"] == 2
    _assert_same_run(tmp_path / "run", long)
    for split, rows in (("validation", 1), ("test", 3)):
        ours, theirs = predictions(tmp_path / "run", split), predictions(long, split)
        assert [row["idx"] for row in ours] == [row["idx"] for row in theirs] == [str(row) for row in range(rows)]
        probabilities = [[float(row["probability_good"]) for row in run] for run in (ours, theirs)]
        assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)


def test_a_resumed_stream_goes_on_where_it_stopped(tiny_model, train: Path, tmp_path: Path):
    settings = {**STEPS, "model_name_or_path": tiny_model, "train_file": train, "shuffle_buffer": 32, "save_steps": 1}
    assert classify(tmp_path / "whole", **settings) == 0
    with interrupted_after(3):
        assert classify(tmp_path / "stopped", **settings) == 130
    assert classify(tmp_path / "stopped", **settings, resume="auto") == 0
    assert history(tmp_path / "stopped", "loss") == history(tmp_path / "whole", "loss")
    assert farthest(tmp_path / "stopped", tmp_path / "whole") == 0


# What the first 1,000 rows do not show; 70 rows look the same as 70 of them.
CHANGES = {
    "rows": ({"max_train_samples": 70}, "max_train_samples (none) → 70"),
    "missing": ({"on_missing": "drop"}, "on_missing error → drop"),
    "cleaned": ({"clean": ["html"]}, "clean (none) → html"),
    "labels": ({"label_map": ["bad=bad", "good=good"]}, "label_map (none) → {'bad': 'bad', 'good': 'good'}"),
}


def test_a_stream_read_by_other_rules_is_another_run(tiny_model, train: Path, tmp_path: Path, capsys):
    settings = {**STEPS, "model_name_or_path": tiny_model, "train_file": train, "save_steps": 1}
    with interrupted_after(3):
        assert classify(tmp_path / "run", **settings) == 130
    for change, change_shown in CHANGES.values():
        capsys.readouterr()
        assert classify(tmp_path / "run", **{**settings, **change}, resume="auto") == 2
        error = capsys.readouterr().err.rstrip().rpartition("\n")[2]
        assert f"checkpoint-3 is from another run: {change_shown}. Undo the change" in error
