"""What ends a run before its end: signals, a full disk, too little memory, a loss that is no number, a second run."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from nsp_runs import pretrain, write_text
from running import (
    ROOT,
    classify,
    farthest,
    history,
    labelled_sentences,
    read_json,
    results,
    subprocess_of,
    variant,
    weights_of,
)

from bertlab.cli.arguments import RunArguments
from bertlab.errors import Interrupted, UserError
from bertlab.training import callbacks, checkpoints, failures, output_dir, output_lock
from bertlab.training.signals import install_signal_handlers
from bertlab.training.trainer import EncoderTrainer

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "num_train_epochs": 2,
    "learning_rate": 1e-3,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": 2,
}


@pytest.fixture(scope="module", autouse=True)
def _without_pictures() -> Any:
    """Leave out plots and page: they take as long as the rest of so small a run, and nothing here looks at them."""
    from bertlab.report import writer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_render", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, write_csv) -> dict[str, Any]:
    """Return model and files of a run of 10 steps, 5 an epoch."""
    folder = tmp_path_factory.mktemp("world")
    train = write_csv(folder / "train.csv", ("text", "label"), labelled_sentences(70, seed=1))
    dev = write_csv(folder / "dev.csv", ("text", "label"), labelled_sentences(30, seed=2))
    return {"model_name_or_path": tiny_model, "train_file": train, "validation_file": dev, **SETTINGS}


@pytest.fixture(scope="module")
def whole(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run that nothing ended early."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert classify(folder, **world) == 0
    return folder


@pytest.fixture(scope="module")
def stopped(world: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that ended after step 6, in the middle of the second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 6, lambda: signal.raise_signal(signal.SIGINT), "on_save")
        assert classify(folder, **world) == 130
    return folder


def _at_step(patch: pytest.MonkeyPatch, step: int, do: Any, event: str = "on_step_begin") -> None:
    """Do something in a run once it comes to a step."""

    def hook(self, args, state, control, **_):
        if state.global_step == step:
            do()

    patch.setattr(callbacks.DeferEpochEndSave, event, hook, raising=False)


def _assert_same(one: Path, other: Path) -> None:
    ours, theirs = weights_of(one), weights_of(other)
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    for key, value in results(other).items():
        if "runtime" not in key and "per_second" not in key:
            assert results(one)[key] == pytest.approx(value, rel=1e-9), key


def _copy(stopped: Path, folder: Path) -> Path:
    shutil.copytree(stopped, folder)
    return folder


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]


# ---------------------------------------------------------------------------------------------------------- signals


def test_no_run_is_said_to_resume_from_a_model_alone(world, tmp_path: Path, capsys):
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 5, lambda: signal.raise_signal(signal.SIGTERM))
        assert classify(tmp_path / "run", **world, save_only_model=True) == 143
    error = _last_line(capsys.readouterr().err)
    assert error.endswith("is the model alone (--save_only_model), from which no run resumes.")


def test_ctrl_c_ends_at_once_with_how_to_resume(world, tmp_path: Path, capsys, monkeypatch):
    _at_step(monkeypatch, 5, lambda: signal.raise_signal(signal.SIGINT))
    folder, before = tmp_path / "run", signal.getsignal(signal.SIGINT)
    assert classify(folder, **world) == 130
    assert _last_line(capsys.readouterr().err) == (
        f"stopped by Ctrl-C; resume from {folder / 'checkpoint-4'} with the same command and --resume auto."
    )
    assert {path.name for path in folder.iterdir()} == {"checkpoint-2", "checkpoint-4", output_lock.STATE}
    assert signal.getsignal(signal.SIGINT) is before, "handlers are put back"


def test_sigterm_saves_the_step_it_came_in_and_the_run_then_ends_as_any(whole, world, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 6, lambda: signal.raise_signal(signal.SIGTERM))
        assert classify(folder, **world) == 143
    error = _last_line(capsys.readouterr().err)
    assert (
        error == f"stopped by SIGTERM; resume from {folder / 'checkpoint-7'} with the same command and --resume auto."
    )
    assert classify(folder, **world, resume="auto") == 0
    _assert_same(folder, whole)


def test_sigterm_at_the_end_of_an_epoch_waits_for_its_evaluation(world, tmp_path: Path):
    """Evaluation draws a random number: without it dropout would go another way in the second epoch."""
    settings = {**world, "eval_strategy": "epoch", "save_strategy": "no"}
    assert classify(tmp_path / "whole", **settings) == 0
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 4, lambda: signal.raise_signal(signal.SIGTERM))
        assert classify(folder, **settings) == 143
    state = read_json(folder / "checkpoint-5" / "trainer_state.json")
    assert "eval_loss" in state["log_history"][-1]
    assert classify(folder, **settings, resume="auto") == 0
    _assert_same(folder, tmp_path / "whole")
    assert history(folder, "eval_loss") == history(tmp_path / "whole", "eval_loss")


def test_sigterm_after_the_last_step_ends_before_the_report(whole, world, tmp_path: Path, capsys):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 10, lambda: signal.raise_signal(signal.SIGTERM), "on_save")
        assert classify(folder, **world) == 143
    error = _last_line(capsys.readouterr().err)
    assert (
        error == f"stopped by SIGTERM; resume from {folder / 'checkpoint-10'} with the same command and --resume auto."
    )
    assert {path.name for path in folder.iterdir()} == {"checkpoint-8", "checkpoint-10", output_lock.STATE}
    assert classify(folder, **world, resume="auto") == 0
    _assert_same(folder, whole)


def test_a_second_sigterm_does_not_wait():
    with pytest.raises(Interrupted), install_signal_handlers() as signals:
        signals.wait_for_step = True
        signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it waited")


def test_sigterm_outside_training_ends_at_once(tmp_path: Path):
    with pytest.raises(Interrupted) as caught, failures.handle_run_failures(tmp_path, {}):
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.status == 143
    assert str(caught.value) == (
        "stopped by SIGTERM; there is no checkpoint yet, so the same command starts from the beginning."
    )


def test_the_checkpoint_of_a_run_that_is_replaced_is_not_one_to_resume_from(tmp_path: Path):
    (tmp_path / "checkpoint-8").mkdir()
    for settings, hint in (({"overwrite_output_dir": True}, "no checkpoint yet"), ({}, "resume from")):
        with pytest.raises(Interrupted, match=hint), failures.handle_run_failures(tmp_path, settings):
            signal.raise_signal(signal.SIGTERM)
    with (
        pytest.raises(Interrupted, match=r"resume from .*checkpoint-8"),
        failures.handle_run_failures(tmp_path, {"overwrite_output_dir": True}),
    ):
        os.utime(tmp_path / "checkpoint-8", (0, 0))  # as if it were written again
        signal.raise_signal(signal.SIGTERM)


def test_a_worker_process_is_ended_by_the_signal_and_not_by_what_the_run_does_about_it():
    with install_signal_handlers() as signals:
        signals.wait_for_step = True
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    assert signals.received is None


# ------------------------------------------------------------------------------------------------------ checkpoints


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _spoil(path: Path) -> None:
    """Zero some bytes in the middle, as a power cut does."""
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])


FLAWS = {
    "no state": (lambda c: (c / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "half a state": (lambda c: _cut(c / "trainer_state.json"), "trainer_state.json is corrupt"),
    "half the weights": (lambda c: _cut(c / "model.safetensors"), "model.safetensors is corrupt"),
    "no weights": (lambda c: (c / "model.safetensors").unlink(), "it has no weights"),
    "no optimizer": (lambda c: (c / "optimizer.pt").unlink(), "it has no optimizer state"),
    "half an optimizer": (lambda c: _cut(c / "optimizer.pt"), "optimizer.pt is corrupt"),
    "holes in the optimizer": (lambda c: _spoil(c / "optimizer.pt"), "optimizer.pt is corrupt"),
    "no schedule": (lambda c: (c / "scheduler.pt").unlink(), "it has no schedule"),
    "empty random numbers": (lambda c: (c / "rng_state.pth").write_bytes(b""), "rng_state.pth is corrupt"),
    "random numbers of one of two": (
        lambda c: (c / "run_signature.json").write_text('{"batch_layout": {"processes": 2}}'),
        "rng_state_0.pth is missing",
    ),
    "fp16 without its loss scale": (
        lambda c: (c / "run_signature.json").write_text('{"values": {"fp16": true}}'),
        "scaler.pt is missing",
    ),
}


@pytest.mark.parametrize("kind", FLAWS)
def test_an_incomplete_checkpoint_is_named_and_the_one_before_is_used(kind, stopped, tmp_path, capsys):
    folder = _copy(stopped, tmp_path / "run")
    damage, validate_checkpoint = FLAWS[kind]
    assert checkpoints.newest_complete(folder) == folder / "checkpoint-6"
    damage(folder / "checkpoint-6")
    assert checkpoints.newest_complete(folder) == folder / "checkpoint-4"
    assert capsys.readouterr().err == (
        f"warning: {folder / 'checkpoint-6'} is incomplete ({validate_checkpoint}) and is skipped.\n"
    )


@pytest.mark.parametrize("name", ["pytorch_model_fsdp.bin", "optimizer.bin"])
def test_the_archives_of_fsdp_are_looked_into(name: str, stopped: Path, tmp_path: Path):
    checkpoint = _copy(stopped, tmp_path / "run") / "checkpoint-6"
    torch.save(weights_of(checkpoint), checkpoint / "pytorch_model_fsdp.bin")
    (checkpoint / "optimizer.pt").rename(checkpoint / "optimizer.bin")
    (checkpoint / "model.safetensors").unlink()
    assert checkpoints.validate_checkpoint(checkpoint) is None
    _cut(checkpoint / name)
    assert checkpoints.validate_checkpoint(checkpoint) == f"{name} is corrupt"


def test_a_run_goes_on_from_the_checkpoint_before_a_broken_one(whole, stopped, world, tmp_path: Path):
    folder = _copy(stopped, tmp_path / "run")
    _cut(folder / "checkpoint-6" / "model.safetensors")
    assert classify(folder, **world, resume="auto") == 0
    _assert_same(folder, whole)
    assert [checkpoints.validate_checkpoint(path) for path in checkpoints.numbered(folder)] == [None, None]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_last_whole_checkpoint_is_there_until_the_next_one_is(limit: int, world, tmp_path: Path, monkeypatch):
    folder = tmp_path / "run"
    during: list[list[str]] = []
    original = checkpoints.commit

    def commit(staging: Path, name: str, into: Path) -> Path:
        during.append(
            [path.name for path in checkpoints.numbered(into) if checkpoints.validate_checkpoint(path) is None]
        )
        assert checkpoints.validate_checkpoint(staging / name) is None
        return original(staging, name, into)

    monkeypatch.setattr(checkpoints, "commit", commit)
    assert classify(folder, **{**world, "max_steps": 6, "save_total_limit": limit}) == 0
    assert [len(names) for names in during] == [0, 1, limit]
    assert len(checkpoints.numbered(folder)) == limit


def test_a_broken_checkpoint_of_a_later_step_does_not_push_out_a_whole_one(tmp_path: Path):
    (tmp_path / checkpoints.SAVING).mkdir(parents=True)
    for step in (4, 6, 9):
        (tmp_path / f"checkpoint-{step}").mkdir()
    checkpoints.rotate(tmp_path, 2, tmp_path / "checkpoint-6", None)
    assert [path.name for path in checkpoints.numbered(tmp_path)] == ["checkpoint-4", "checkpoint-6"]
    (tmp_path / "checkpoint-8").mkdir()
    checkpoints.rotate(tmp_path, 1, tmp_path / "checkpoint-8", tmp_path / "checkpoint-4")
    assert [path.name for path in checkpoints.numbered(tmp_path)] == ["checkpoint-4", "checkpoint-8"]


@pytest.mark.parametrize(
    "moment", ["after max_steps in mid-epoch", "after early stopping", "between the model and its scores"]
)
def test_a_run_stopped_while_it_finished_finishes_as_it_would_have(moment: str, whole, world, tmp_path: Path):
    """Trainer takes a step more from a checkpoint in mid-epoch at max_steps, or after it stopped early."""
    settings = dict(world)
    if moment == "after max_steps in mid-epoch":
        settings |= {"max_steps": 7}
    elif moment == "after early stopping":
        early = {"selection_fraction": 0.3, "early_stopping_patience": 1, "early_stopping_threshold": 1.0}
        settings |= {"num_train_epochs": 6, "save_strategy": "epoch", **early}
    if settings != world:
        whole = tmp_path / "whole"
        assert classify(whole, **settings) == 0
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        from bertlab.report import writer

        patch.setattr(writer, "write_results", lambda run: signal.raise_signal(signal.SIGINT))
        assert classify(folder, **settings) == 130
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "run.json").exists()
    assert classify(folder, **settings, resume="auto") == 0
    _assert_same(folder, whole)
    assert results(folder)["train_loss"] > 0.1, "the loss of the whole run, not of no step"
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def test_a_run_stopped_while_it_is_scored_keeps_the_newest_checkpoint_beside_the_best(world, tmp_path: Path):
    """Trainer deletes all but the best after the last step, and the rest would be trained again."""
    from bertlab.report import writer

    settings = {**world, "save_strategy": "epoch", "save_total_limit": 1, "selection_fraction": 0.3}
    settings |= {"metric_for_best_model": "loss", "greater_is_better": True}  # the first epoch is the best
    folder, kept = tmp_path / "run", ["checkpoint-4", "checkpoint-8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "write_results", lambda run: signal.raise_signal(signal.SIGINT))
        assert classify(folder, **settings) == 130
    assert [path.name for path in checkpoints.numbered(folder)] == kept
    trained = (folder / "checkpoint-8" / "trainer_state.json").stat().st_mtime_ns
    assert classify(folder, **settings, resume="auto") == 0
    assert [path.name for path in checkpoints.numbered(folder)] == kept
    assert (folder / "checkpoint-8" / "trainer_state.json").stat().st_mtime_ns == trained, "no step was made again"
    assert farthest(folder, folder / "checkpoint-4") == 0


def test_the_best_checkpoint_is_found_where_the_run_was_moved_to(world, tmp_path: Path):
    settings = {**world, "num_train_epochs": 4, "save_strategy": "epoch", "selection_fraction": 0.3}
    settings |= {"metric_for_best_model": "loss", "greater_is_better": True}  # the first epoch is the best
    assert classify(tmp_path / "whole", **settings) == 0
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 9, lambda: signal.raise_signal(signal.SIGINT))
        assert classify(tmp_path / "here", **settings) == 130
    (tmp_path / "here").rename(tmp_path / "there")
    assert classify(tmp_path / "there", **settings, resume="auto") == 0
    _assert_same(tmp_path / "there", tmp_path / "whole")


def test_a_copied_run_takes_its_own_best_checkpoint_though_the_first_is_still_there(world, tmp_path: Path):
    settings = {**world, "save_strategy": "epoch", "selection_fraction": 0.3}
    settings |= {"metric_for_best_model": "loss", "greater_is_better": True}  # the first epoch is the best
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 6, lambda: signal.raise_signal(signal.SIGINT))
        assert classify(tmp_path / "first", **settings) == 130
    copy = _copy(tmp_path / "first", tmp_path / "copy")
    # Something else has been written there since.
    shutil.copy(world["model_name_or_path"] / "model.safetensors", tmp_path / "first" / "checkpoint-4")
    assert classify(copy, **settings, resume="auto") == 0
    assert farthest(copy, copy / "checkpoint-4") == 0
    assert read_json(copy / "trainer_state.json")["best_model_checkpoint"] == str(copy / "checkpoint-4")


def test_a_run_that_saves_its_best_steps_alone_logs_the_same_when_it_is_resumed(world, tmp_path: Path):
    """Whether such a step is saved is decided after what came before it is logged."""
    settings = {**world, "save_strategy": "best", "metric_for_best_model": "loss", "logging_steps": 4}
    for every in ({"eval_strategy": "steps", "eval_steps": 3}, {"eval_strategy": "epoch"}):
        whole, folder = (tmp_path / f"{every['eval_strategy']}-{name}" for name in ("whole", "run"))
        assert classify(whole, **settings, **every) == 0
        with pytest.MonkeyPatch.context() as patch:
            _at_step(patch, 7, lambda: signal.raise_signal(signal.SIGINT))
            assert classify(folder, **settings, **every) == 130
        assert checkpoints.numbered(folder)
        assert classify(folder, **settings, **every, resume="auto") == 0
        _assert_same(folder, whole)
        assert history(folder, "loss") == history(whole, "loss")


# ------------------------------------------------------------------------------------------------------ another run


def _refused(folder: Path, capsys: pytest.CaptureFixture[str], **settings: Any) -> str:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert classify(folder, **settings, resume="auto") == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    error = _last_line(capsys.readouterr().err)
    assert error.startswith(f"error: {folder / 'checkpoint-6'} is from another run: "), error
    assert error.endswith(
        "Undo the change, or start over without --resume, in another --output_dir or with --overwrite_output_dir."
    )
    return error.partition("from another run: ")[2].partition(". Undo")[0]


CHANGES = {
    "rate": ({"learning_rate": 2e-5}, "learning_rate 0.001 → 2e-05"),
    "epochs": ({"num_train_epochs": 3}, "num_train_epochs 2 → 3"),
    "seed": ({"seed": 1}, "seed 42 → 1"),
    "batch": ({"gradient_accumulation_steps": 4}, "global batch 16 → 32"),
    "evaluation": ({"eval_strategy": "epoch"}, "eval_strategy no → epoch"),
    "order": ({"train_sampling_strategy": "random"}, "train_sampling_strategy group_by_length → random"),
    "loss": ({"class_weights": "balanced"}, "class_weights none → balanced"),
    "two": ({"weight_decay": 0.1, "seed": 7}, "seed 42 → 7"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_with_another_value_does_not_go_on_from_its_checkpoint(change, stopped, world, tmp_path, capsys):
    folder = _copy(stopped, tmp_path / "run")
    changed, difference = CHANGES[change]
    assert difference in _refused(folder, capsys, **{**world, **changed}).split("; ")


def test_a_run_with_another_value_starts_over(stopped, world, tmp_path, capsys):
    folder, changed = _copy(stopped, tmp_path / "run"), {**world, "learning_rate": 2e-5, "max_steps": 2}
    _refused(folder, capsys, **changed)
    assert classify(folder, **changed, overwrite_output_dir=True) == 0
    assert [path.name for path in checkpoints.numbered(folder)] == ["checkpoint-2"]
    assert history(folder, "learning_rate")[0] == 2e-5


def test_a_run_on_other_rows_does_not_go_on_from_its_checkpoint(stopped, world, tmp_path, write_csv, capsys):
    folder = _copy(stopped, tmp_path / "run")
    rows = labelled_sentences(70, seed=1)
    rows[3] = (rows[3][0], rows[2][1])
    other = write_csv(tmp_path / "train.csv", ("text", "label"), rows)
    difference = _refused(folder, capsys, **{**world, "train_file": other})
    assert difference.startswith("train 70 rows, ")
    assert difference.count("70 rows, ") == 2
    assert ";" not in difference, "nothing but the training rows is another"


def test_a_run_with_other_labels_does_not_go_on_from_its_checkpoint(stopped, world, tmp_path, capsys):
    folder = _copy(stopped, tmp_path / "run")
    difference = _refused(folder, capsys, **{**world, "class_names": ["good", "bad"]})
    assert "labels' classes bad, good → good, bad" in difference


def test_a_run_of_another_model_does_not_go_on_from_its_checkpoint(stopped, world, tiny_model, tmp_path, capsys):
    folder = _copy(stopped, tmp_path / "run")
    heavier = variant(tiny_model, tmp_path / "other", initializer_range=0.3)
    difference = _refused(folder, capsys, **{**world, "model_name_or_path": heavier})
    assert "model's weights " in difference
    assert "model's initializer_range 0.02 → 0.3" in difference


def test_what_changes_no_result_may_change(whole, stopped, world, tmp_path: Path, capsys):
    """Where files lie, how often is logged and saved, the batch of evaluation, spelling a default out."""
    folder = _copy(stopped, tmp_path / "elsewhere")
    shutil.copy(world["train_file"], tmp_path / "moved.csv")
    shutil.copytree(world["model_name_or_path"], tmp_path / "model")
    changed = {**world, "train_file": tmp_path / "moved.csv", "model_name_or_path": tmp_path / "model"}
    changed |= {"logging_steps": 5, "save_steps": 4, "per_device_eval_batch_size": 7, "weight_decay": 0.0}
    assert classify(folder, **changed, resume="auto") == 0
    ours, theirs = weights_of(folder), weights_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_batch_layout_may_change_and_says_so(world, tmp_path: Path, capsys, tiny_model):
    still = variant(tiny_model, tmp_path / "still", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    settings = {**world, "model_name_or_path": still}
    assert classify(tmp_path / "whole", **settings) == 0
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 7, lambda: signal.raise_signal(signal.SIGTERM))
        assert classify(tmp_path / "run", **settings) == 143
    capsys.readouterr()
    other = {**settings, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4}
    assert classify(tmp_path / "run", **other, resume="auto") == 0
    assert "is divided differently than before (8 × 2 on 1 process, now 4 × 4 on 1 process)" in capsys.readouterr().err
    assert farthest(tmp_path / "run", tmp_path / "whole") < 1e-5


def test_a_checkpoint_that_says_nothing_of_its_run_is_a_model_to_start_from(stopped, world, tmp_path: Path, capsys):
    folder = _copy(stopped, tmp_path / "run")
    (folder / "checkpoint-6" / "run_signature.json").unlink()
    assert classify(folder, **world, resume="auto") == 2
    error = _last_line(capsys.readouterr().err)
    assert "checkpoint-6 has no run_signature.json: another program wrote it, or it is damaged." in error
    obeyed = re.search(r"--model_name_or_path (\S+) with another --output_dir", error)
    assert classify(tmp_path / "other", **{**world, "model_name_or_path": obeyed[1]}) == 0


def test_pairs_of_another_text_or_another_objective_are_another_run(tiny_model, tmp_path: Path, capsys):
    text = write_text(tmp_path / "text.txt")
    settings = {"text": text, "sentence_splitter": "period", "model_name_or_path": tiny_model, "max_steps": 3}
    settings |= {
        "save_strategy": "steps",
        "save_steps": 1,
        "per_device_train_batch_size": 8,
    }
    settings |= {"eval_strategy": "steps", "eval_steps": 1}
    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 2, lambda: signal.raise_signal(signal.SIGTERM))
        assert pretrain(tmp_path / "run", **settings) == 143
    # The same number of words in each sentence: the ranges of the pairs stay as they are.
    text.write_text(text.read_text(encoding="utf-8").replace("cat", "dog"), encoding="utf-8")
    capsys.readouterr()
    assert pretrain(tmp_path / "run", **settings, resume="auto", objective="nsp+mlm", fresh_negatives=False) == 2
    error = _last_line(capsys.readouterr().err)
    assert "objective nsp → nsp+mlm" in error
    assert "fresh_negatives True → False" in error
    assert "train " in error


# ------------------------------------------------------------------------------------------------------------- lock


HOLD = """
import sys, time
from collections.abc import Iterator
from pathlib import Path
from bertlab.training import output_lock

with output_lock.locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Return a folder and the process that holds it until it is killed."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield folder, process
    finally:
        process.kill()
        process.communicate()


def test_the_second_run_in_a_folder_is_refused_and_a_killed_one_s_lock_is_void(held, whole, world, capsys):
    folder, other = held
    for settings in ({}, {"resume": "auto"}, {"overwrite_output_dir": True}):
        assert classify(folder, **world, **settings) == 2
        error = _last_line(capsys.readouterr().err)
        assert error.startswith(f"error: {folder} is being written by another run (process {other.pid} on ")
        assert error.endswith("Wait for it, or name another --output_dir.")
    assert {path.name for path in folder.iterdir()} == {output_lock.STATE}
    other.kill()
    other.wait()
    assert classify(folder, **world, resume="auto") == 0
    assert f"the run before in {folder} (process {other.pid} on " in capsys.readouterr().err
    assert not (folder / output_lock.STATE).exists()
    _assert_same(folder, whole)


def test_a_run_on_another_machine_is_waited_for_until_its_claim_expires(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(output_lock, "ATTEMPT_SECONDS", 0.01)
    monkeypatch.setattr(output_lock, "LEASE_SECONDS", 1e6)
    claim = tmp_path / output_lock.STATE / "lease"
    claim.parent.mkdir()

    def held_elsewhere() -> None:
        lease = f"token=0\nduration={output_lock.LEASE_SECONDS}\n"
        claim.write_text(f"filelock/2\npid=7\nhost=elsewhere\nmode=lease\n{lease}")

    held_elsewhere()
    waits: list[float] = []
    acquire = output_lock.SoftFileLease.acquire

    def impatient(self, timeout=None, **options):
        waits.append(timeout or 0)
        return acquire(self, timeout=0, **options)

    monkeypatch.setattr(output_lock.SoftFileLease, "acquire", impatient)
    with pytest.raises(UserError, match=r"another run \(process 7 on elsewhere\)"):
        output_lock.refuse_if_locked(tmp_path)
    assert max(waits) > output_lock.LEASE_SECONDS
    assert "a run on another machine holds" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(output_lock, "LEASE_SECONDS", 0.01)
    held_elsewhere()
    output_lock.refuse_if_locked(tmp_path)
    assert not claim.exists()


def test_the_processes_of_one_run_do_not_refuse_each_other(tmp_path: Path, monkeypatch):
    with output_dir.claimed(tmp_path, RunArguments()):
        monkeypatch.setenv("RANK", "1")
        assert output_dir.find_checkpoint(tmp_path, RunArguments()) is None
        with output_dir.claimed(tmp_path, RunArguments()):
            pass
        assert (tmp_path / output_lock.STATE / "lease").is_file()


# ------------------------------------------------------------------------------------------------- disk, memory, NaN


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """Return an empty disk of 1.5 MB: room for the checkpoints of a tiny model, not for what is put beside them."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("moment", ["a checkpoint", "the report"])
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_room(moment, small_disk, whole, world, capsys):
    folder = small_disk / "run"
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb") as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(bytes(4096))
                stream.flush()

    with pytest.MonkeyPatch.context() as patch:
        if moment == "a checkpoint":
            _at_step(patch, 5, fill)
        else:
            from bertlab.report import writer

            write = writer.write_results
            patch.setattr(writer, "write_results", lambda run: (fill(), write(run))[1])
        assert classify(folder, **world) == 2
    error = _last_line(capsys.readouterr().err)
    last = folder / f"checkpoint-{4 if moment == 'a checkpoint' else 10}"
    assert error.startswith("error: the disk is full: nothing more can be written in ")
    assert "MB free; a checkpoint takes 0." in error
    assert f"Make room; {last} is untouched: --resume auto continues." in error
    assert all(checkpoints.validate_checkpoint(path) is None for path in checkpoints.numbered(folder))
    assert not (folder / "run.json").exists()
    ballast.unlink()
    assert classify(folder, **world, resume="auto") == 0
    _assert_same(folder, whole)


def test_a_run_that_filled_the_disk_goes_on_with_fewer_checkpoints(whole, world, tmp_path: Path, capsys):
    def fill() -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        _at_step(patch, 5, fill)
        assert classify(tmp_path / "run", **world) == 2
    error = _last_line(capsys.readouterr().err)
    assert error.endswith("--resume auto continues. --save_total_limit 1 and --save_strategy epoch take less.")
    less = {**world, "save_steps": None, "save_total_limit": 1, "save_strategy": "epoch"}
    assert classify(tmp_path / "run", **less, resume="auto") == 0
    assert [path.name for path in checkpoints.numbered(tmp_path / "run")] == ["checkpoint-10"]
    _assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "x/model.safetensors"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
    ],
)
def test_whatever_library_met_the_full_disk(error: Exception, tmp_path: Path):
    explained = failures.explain(error, tmp_path, {})
    assert explained is not None
    assert explained.problem.startswith("the disk is full")


def test_other_failures_are_not_dressed_up(tmp_path: Path):
    with pytest.raises(ValueError, match="a fault"), failures.handle_run_failures(tmp_path, {}):
        raise ValueError("a fault")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run_before_it_is_saved(value: float, world, tmp_path: Path, capsys):
    from bertlab.training.loss import ExactLoss

    original, calls = ExactLoss.__call__, []

    def broken(self, outputs, labels, num_items_in_batch=None):
        calls.append(1)
        loss = original(self, outputs, labels, num_items_in_batch)
        return loss * value if len(calls) == 11 else loss  # two rows are tried first; the last part of step 5

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExactLoss, "__call__", broken)
        assert classify(folder, **{**world, "logging_steps": 50}) == 2
    error = _last_line(capsys.readouterr().err)
    assert error.startswith(f"error: the loss is {'nan' if value != value else 'inf'} at step 6 of 10, learning rate ")
    assert error.endswith(
        f"Lower --learning_rate, add --warmup_steps 0.1, or pass --precision fp32; the last good checkpoint is "
        f"{folder / 'checkpoint-4'}."
    )
    assert [path.name for path in checkpoints.numbered(folder)] == ["checkpoint-2", "checkpoint-4"]


def test_a_run_that_diverged_is_finished_with_a_lower_rate(world, tmp_path: Path, capsys):
    unsteady = {**world, "adam_beta2": 0, "max_grad_norm": 0}  # or Adam takes a rate of 1 without a word
    assert classify(tmp_path / "run", **{**unsteady, "learning_rate": 1}) == 2
    assert "Lower --learning_rate, add --warmup_steps 0.1, or pass" in _last_line(capsys.readouterr().err)
    lower = {**unsteady, "learning_rate": 1e-3, "warmup_steps": 0.1, "overwrite_output_dir": True}
    assert classify(tmp_path / "run", **lower) == 0


def test_a_gradient_that_is_no_number_is_seen_before_the_weights_are_saved():
    state = SimpleNamespace(global_step=3, max_steps=9)
    args = SimpleNamespace(fp16=False, output_dir="nowhere")
    logs = {"loss": 0.5, "grad_norm": float("inf"), "learning_rate": 1e-3}
    with pytest.raises(UserError, match=r"the gradient is inf at step 3 of 9, learning rate 0\.001"):
        callbacks.StopOnNan().on_log(args, state, None, logs=logs)
    args.fp16 = True  # the loss is scaled down, and the step left out
    callbacks.StopOnNan().on_log(args, state, None, logs=logs)


def test_too_little_memory_names_the_flags_that_help(world, tmp_path: Path, capsys):
    from bertlab.training.loss import ExactLoss

    loss = ExactLoss.__call__

    def hungry(self, outputs, labels, **more: Any) -> Any:
        return torch.empty(2**58) if len(labels) > 4 else loss(self, outputs, labels, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExactLoss, "__call__", hungry)
        assert classify(tmp_path / "run", **world) == 2
        error = _last_line(capsys.readouterr().err)
        typed = re.findall(r"--(\w+) (\d+)", error)
        smaller = {**world, **dict(typed), "max_steps": 2, "overwrite_output_dir": True}
        assert classify(tmp_path / "run", **smaller) == 0
    assert read_json(tmp_path / "run" / "run.json")["plan"]["global_batch"] == 16
    assert error.startswith("error: training needs more memory than there is, at 8 rows at once (")
    assert error.endswith(
        "Pass --per_device_train_batch_size 4 --gradient_accumulation_steps 4: the result stays the same. "
        "Or a smaller --max_seq_length, --activation_checkpointing, or --precision bf16."
    )


@pytest.mark.parametrize(("rows", "steps", "smaller"), [(8, 2, (4, 4)), (33, 1, (11, 3)), (7, 2, (1, 14))])
def test_the_smaller_batch_that_is_advised_makes_the_same_global_batch(rows, steps, smaller, tmp_path: Path):
    training = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": steps}
    error = str(failures.explain(MemoryError(), tmp_path, training))
    flags = "--per_device_train_batch_size {} --gradient_accumulation_steps {}".format(*smaller)
    assert f"Pass {flags}: the result stays the same." in error
    divided = str(failures.explain(MemoryError(), tmp_path, {**training, "global_batch_size": rows * steps}))
    assert f"Pass --gradient_accumulation_steps {smaller[1]}: the result stays the same." in divided
    training["per_device_train_batch_size"] = 1
    assert "Pass a smaller --max_seq_length" in str(failures.explain(MemoryError(), tmp_path, training))


def test_too_little_memory_in_evaluation_names_its_own_flag(tmp_path: Path):
    def prediction_step() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with (
        pytest.raises(UserError) as caught,
        failures.handle_run_failures(tmp_path, {"per_device_eval_batch_size": 64}),
    ):
        prediction_step()
    assert str(caught.value) == (
        "evaluation needs more memory than there is (CUDA out of memory. Tried to allocate 20.00 MiB). "
        "Pass --per_device_eval_batch_size 32 (now 64): the scores stay the same."
    )


def test_the_smaller_batch_of_evaluation_gives_the_same_scores(whole, world, tmp_path: Path, capsys):
    step = EncoderTrainer.prediction_step

    def prediction_step(self, model, inputs, *more: Any, **options: Any) -> Any:
        if inputs["input_ids"].numel() > 8 * 32:  # batches are cut by tokens
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(self, model, inputs, *more, **options)

    settings = {"model_name_or_path": whole, "validation_file": world["validation_file"], "do_eval": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderTrainer, "prediction_step", prediction_step)
        assert classify(tmp_path / "run", **settings, per_device_eval_batch_size=16) == 2
        typed = re.findall(r"--(\w+) (\d+)", _last_line(capsys.readouterr().err))
        assert classify(tmp_path / "run", **settings, **dict(typed), overwrite_output_dir=True) == 0
    assert results(tmp_path / "run")["eval_accuracy"] == results(whole)["eval_accuracy"]


def test_a_process_whose_peer_ended_says_no_more_than_that(tmp_path: Path, monkeypatch):
    error = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")
    assert failures.explain(error, tmp_path, {}) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    explained = failures.explain(error, tmp_path, {})
    assert str(explained) == "another process of this run has ended. Its own line says why."


# -------------------------------------------------------------------------------------------- two processes, kill -9


# A short form of `make torture`: few steps and rows, and no plots.
TORTURE = """
import dataclasses, sys
sys.path.insert(0, "benchmarks")
import torture
from bertlab.report import writer
writer._render = lambda *_: None
few = {"max_steps": 14, "max_train_samples": 80, "max_eval_samples": 40, "max_predict_samples": 20}
(run,) = [one for one in torture.scenarios() if one.name == "classify-2"]
torture.scenarios = lambda: [dataclasses.replace(run, settings={**run.settings, **few})]
sys.exit(torture.main())
"""


@pytest.mark.launch
def test_killed_runs_end_as_the_run_that_nobody_killed(tmp_path: Path):
    output = tmp_path / "torture.json"
    options = ("--kills", 1, "--seed", 3, "--output", output)
    done = subprocess_of([sys.executable, "-c", TORTURE, *options])
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    report = read_json(output)
    assert report["kills"] == report["identical"] == 1
    assert report["each"][0]["steps_logged"] > 0, "it was killed while it trained, not while it started"
