"""What is seen of training while it lasts, and when it is over: loss, examples/s, time left, memory, the best epoch."""

import time
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import has_length

from bertlab.console import duration, say
from bertlab.training.arguments import global_batch
from bertlab.training.memory import peak_memory_mb

# What Trainer logs of an evaluation beside the scores.
NOT_SCORES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


class LogLines(TrainerCallback):
    """A line for each logged step and each evaluation, where there is no terminal with a progress bar."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock, at the step that the run was resumed from."""
        self.began, self.first = time.perf_counter(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Print the line."""
        if "loss" in logs:
            a_step = (time.perf_counter() - self.began) / max(1, state.global_step - self.first)
            say(
                f"step {state.global_step:,} of {state.max_steps:,}, epoch {logs['epoch']:.2f}: "
                f"loss {logs['loss']:.4f}, learning rate {logs['learning_rate']:.3g}, "
                f"{speed(global_batch(args) / a_step)}, {memory()}, "
                f"{duration(a_step * (state.max_steps - state.global_step))} left"
            )
        elif any(key.startswith("eval_") for key in logs):
            say(evaluation_line(logs))


class Bar(ProgressCallback):
    """A progress bar with loss, examples/s and memory, beside tqdm's own figures; a line for each evaluation."""

    def on_prediction_step(self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **_: Any) -> None:
        """Show how far an evaluation is, until it is over."""
        if self.prediction_bar is None and state.is_world_process_zero and has_length(eval_dataloader):
            self.prediction_bar = tqdm(
                total=len(eval_dataloader), desc="evaluation", leave=False, dynamic_ncols=True, unit="batch"
            )
        super().on_prediction_step(args, state, control, eval_dataloader)  # type: ignore[no-untyped-call]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show loss and scores."""
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        if "loss" in logs:
            rate = (self.training_bar.format_dict["rate"] or 0) * global_batch(args)
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.4f}, {speed(rate)}, {memory()}")
        elif any(key.startswith("eval_") for key in logs):
            self.training_bar.write(evaluation_line(logs))


def evaluation_line(logs: Mapping[str, Any]) -> str:
    """Return the scores of an evaluation during training."""
    scores = {key.removeprefix("eval_"): value for key, value in logs.items() if isinstance(value, float)}
    shown = [f"{name} {value:.4f}" for name, value in scores.items() if name not in (*NOT_SCORES, "epoch")]
    return f"epoch {logs.get('epoch', 0):g}: {', '.join(shown)}"


def summary_line(state: TrainerState, metrics: Mapping[str, Any], criterion: str | None) -> str:
    """Return how long training took, its speed and memory, and the epoch that was best by a criterion, if any."""
    rate = metrics.get("train_samples_per_second")
    parts = [*([] if rate is None else [speed(rate)]), memory()]
    best = next((entry for entry in state.log_history if entry["step"] == state.best_global_step), None)
    if best is not None:
        parts.append(f"best epoch {best['epoch']:g} ({criterion} {state.best_metric:.4f})")
    return f"trained {state.global_step:,} steps in {duration(metrics['train_runtime'])}: {', '.join(parts)}"


def speed(rate: float) -> str:
    """Return examples a second, with no more digits than are known."""
    return f"{rate:,.0f} examples/s" if rate >= 10 else f"{rate:.2g} examples/s"


def memory() -> str:
    """Return the peak memory of the GPU, or else of the process."""
    peak = peak_memory_mb()
    size = peak.get("gpu", peak.get("host", 0.0))
    return f"{size / 1000:.1f} GB" if size >= 1000 else f"{size:.0f} MB"
