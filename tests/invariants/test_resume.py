"""A run that was stopped and resumed ends as the one that was not, bit for bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from running import classify, history, interrupted_after, predictions, read_json, results, weights_of

from bertlab.cli.arguments import ModelArguments, RunArguments, dataclass_flags
from bertlab.training.resume import RESUME_CRITICAL

pytestmark = pytest.mark.slow

# 70 rows in global batches of 16 are 5 steps an epoch: step 7 is in the middle of the second of three.
SETTINGS = {
    "num_train_epochs": 3,
    "learning_rate": 1e-3,
    "warmup_steps": 0.2,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 2,
}
STOPPED_AFTER = 7
MEASURED = ("runtime", "per_second")


@pytest.fixture(scope="module")
def whole(tiny_model: Path, sentences: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run that nothing interrupted; the model has dropout, rows are grouped by length."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert classify(folder, model_name_or_path=tiny_model, **sentences, **SETTINGS) == 0
    return folder


@pytest.fixture(scope="module")
def stopped(tiny_model: Path, sentences: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that Ctrl-C ended after step 7 was saved."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with interrupted_after(STOPPED_AFTER):
        assert classify(folder, model_name_or_path=tiny_model, **sentences, **SETTINGS) == 130
    return folder


def _resume(stopped: Path, folder: Path, tiny_model: Path, sentences: dict[str, Path], how: object = "auto") -> Path:
    shutil.copytree(stopped, folder)
    assert classify(folder, model_name_or_path=tiny_model, **sentences, **SETTINGS, resume=how) == 0
    return folder


def _assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights_of(one), weights_of(other)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    assert history(one, "loss") == history(other, "loss")
    assert history(one, "grad_norm") == history(other, "grad_norm")
    for key, value in results(other).items():
        if not key.endswith(MEASURED) and "per_second" not in key:
            assert results(one)[key] == value, key
    assert predictions(one, "test") == predictions(other, "test")


def test_the_stopped_run_has_a_checkpoint_in_mid_epoch_and_no_result(stopped: Path):
    assert {path.name for path in stopped.iterdir()} == {"checkpoint-6", "checkpoint-7", "_bertlab"}
    state = read_json(stopped / "checkpoint-7" / "trainer_state.json")
    assert 1 < state["epoch"] < 2


def test_the_resumed_run_equals_the_uninterrupted_one(whole, stopped, tiny_model, sentences, tmp_path: Path):
    folder = _resume(stopped, tmp_path / "run", tiny_model, sentences)
    _assert_same(folder, whole)
    assert len(history(folder, "loss")) == 15


def test_train_loss_is_the_mean_over_all_steps(whole, stopped, tiny_model, sentences, tmp_path: Path):
    folder = _resume(stopped, tmp_path / "run", tiny_model, sentences)
    losses = history(whole, "loss")
    assert results(folder)["train_loss"] == results(whole)["train_loss"]
    assert results(whole)["train_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-9)


def test_a_half_written_checkpoint_is_passed_over(whole, stopped, tiny_model, sentences, tmp_path: Path, capsys):
    half = tmp_path / "half"
    shutil.copytree(stopped, half)
    (half / "checkpoint-7" / "trainer_state.json").write_text('{"global_step": 7', encoding="utf-8")
    (half / "checkpoint-8").mkdir()
    _assert_same(_resume(half, tmp_path / "run", tiny_model, sentences), whole)
    assert "checkpoint-6" in capsys.readouterr().err


def test_a_named_checkpoint_is_resumed_from(whole, stopped, tiny_model, sentences, tmp_path: Path):
    how = tmp_path / "run" / "checkpoint-6"
    _assert_same(_resume(stopped, tmp_path / "run", tiny_model, sentences, how), whole)


def test_a_checkpoint_of_elsewhere_goes_on_in_a_new_folder(whole, stopped, tiny_model, sentences, tmp_path: Path):
    settings = {"model_name_or_path": tiny_model, **sentences, **SETTINGS}
    assert classify(tmp_path / "run", **settings, resume=stopped / "checkpoint-6") == 0
    _assert_same(tmp_path / "run", whole)


def test_a_finished_run_is_not_resumed(whole: Path, tiny_model, sentences, tmp_path: Path, capsys):
    before = (whole / "run.json").read_text(encoding="utf-8")
    status = classify(whole, model_name_or_path=tiny_model, **sentences, **SETTINGS, resume="auto")
    assert status == 2
    assert capsys.readouterr().err == (
        f"error: {whole} holds a finished run; there is nothing to resume. Pass --overwrite_output_dir instead.\n"
    )
    assert (whole / "run.json").read_text(encoding="utf-8") == before
    assert json.loads(before)["seed"] == 42


def test_auto_starts_from_the_beginning_where_nothing_is_and_must_refuses(
    tiny_model, sentences, tmp_path: Path, capsys
):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], "max_steps": 1}
    assert classify(tmp_path / "none", **settings, resume="must") == 2
    assert "--resume must: no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert classify(tmp_path / "none", **settings, resume="auto") == 0


def test_a_checkpoint_that_is_none_is_refused(stopped, tiny_model, sentences, tmp_path: Path, capsys):
    settings = {"model_name_or_path": tiny_model, "train_file": sentences["train_file"], "max_steps": 1}
    assert classify(tmp_path / "run", **settings, resume=tmp_path) == 2
    assert f"--resume {tmp_path}: trainer_state.json is missing" in capsys.readouterr().err


# Where weights come from and go to, and what is printed: rows, configuration and weights are compared themselves.
NOT_CRITICAL = {
    *("model_name_or_path", "config_name", "tokenizer_name", "model_revision", "token", "cache_dir"),
    *("trust_remote_code", "use_fast_tokenizer", "ignore_mismatched_sizes", "precision", "lora_merge"),
    "attn_implementation",
    *("resume", "overwrite_output_dir", "metric_batch_size", "print_parameters", "print_config"),
    *("published", "published_split", "published_source", "push_run_files_to_hub", "hub_benchmark_task", "threshold"),
    "global_batch_size",  # what it divides into is compared
}


def test_every_flag_of_model_and_run_is_compared_or_known_to_be_harmless():
    flags = {flag.name for group in (ModelArguments, RunArguments) for flag in dataclass_flags(group)}
    assert flags - set(RESUME_CRITICAL) == NOT_CRITICAL
