"""What is printed while a model trains, and when it is trained."""

import re
from types import SimpleNamespace

import pytest
from transformers.trainer_callback import TrainerState

from bertlab.training import progress

ARGS = SimpleNamespace(train_batch_size=8, gradient_accumulation_steps=2, world_size=1)
STEP = {"loss": 0.51234, "learning_rate": 7.5e-5, "epoch": 0.5, "grad_norm": 1.0}
EVALUATION = {
    "eval_accuracy": 0.75,
    "eval_loss": 0.5,
    "eval_runtime": 1.5,
    "eval_samples_per_second": 9.0,
    "epoch": 2.0,
}


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands until it is set, and a process with a known peak of memory."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now.seconds)
    monkeypatch.setattr(progress, "peak_memory_mb", lambda: {"host": 812.3})
    return now


def state(step: int) -> TrainerState:
    return TrainerState(global_step=step, max_steps=100)


def test_a_logged_step_is_a_line_with_rate_memory_and_time_left(clock, capsys):
    lines = progress.LogLines()
    lines.on_train_begin(ARGS, state(20), None)  # resumed at step 20
    clock.seconds += 60
    lines.on_log(ARGS, state(40), None, logs=STEP)
    # 20 steps of 16 rows took 60 s; 60 steps are left.
    assert capsys.readouterr().out == (
        "step 40 of 100, epoch 0.50: loss 0.5123, learning rate 7.5e-05, 5.3 examples/s, 812 MB, 3 min 00 s left\n"
    )


def test_an_evaluation_is_a_line_with_its_scores_and_the_end_is_none(clock, capsys):
    lines = progress.LogLines()
    lines.on_train_begin(ARGS, state(0), None)
    lines.on_log(ARGS, state(4), None, logs=EVALUATION)
    lines.on_log(ARGS, state(4), None, logs={"train_runtime": 9.0, "train_loss": 0.4, "epoch": 2.0})
    assert capsys.readouterr().out == "epoch 2: accuracy 0.7500, loss 0.5000\n"


def test_the_end_names_time_rate_memory_and_the_best_epoch(clock):
    trained = state(100)
    metrics = {"train_runtime": 125.0, "train_samples_per_second": 1234.5}
    assert progress.summary_line(trained, metrics, "accuracy") == (
        "trained 100 steps in 2 min 05 s: 1,234 examples/s, 812 MB"
    )
    trained.log_history = [{"step": 50, "epoch": 1.0}, {"step": 100, "epoch": 2.0}]
    trained.best_global_step, trained.best_metric = 50, 0.875
    assert progress.summary_line(trained, metrics, "accuracy").endswith("best epoch 1 (accuracy 0.8750)")


def test_the_memory_of_a_gpu_goes_before_that_of_the_process(monkeypatch):
    monkeypatch.setattr(progress, "peak_memory_mb", lambda: {"host": 900.0, "gpu": 12_345.0})
    assert progress.memory() == "12.3 GB"


def test_the_bar_shows_loss_rate_and_memory(clock, capsys):
    bar = progress.Bar()
    bar.on_train_begin(ARGS, state(0), None)
    bar.training_bar.format_dict["rate"] = 2.0
    bar.on_log(ARGS, state(1), None, logs=STEP)
    bar.on_log(ARGS, state(1), None, logs=EVALUATION)
    bar.on_train_end(ARGS, state(1), None)
    shown = capsys.readouterr()
    assert re.search(r"loss 0\.5123, [\d.,]+ examples/s, 812 MB", shown.err)
    assert "epoch 2: accuracy 0.7500, loss 0.5000" in shown.out + shown.err
