"""A Trainer whose checkpoints and model appear whole or not at all, and that ends where a finished one had ended."""

from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainingArguments

from bertlab.io import write_json
from bertlab.training import callbacks, checkpoints
from bertlab.training.checkpoints import IDENTITY_FILE, STATE_FILE


class SavedArguments(TrainingArguments):
    """TrainingArguments whose pickle, which Trainer writes and uploads beside the weights, holds no token."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "hub_token": None}


class ResumableTrainer(Trainer):
    """Trainer that can be killed at any moment and resumed as if it had not been."""

    # What resuming.py compares; it goes into each checkpoint.
    identity: dict[str, Any] | None = None
    # True once training is over and what is saved is the model itself.
    is_finished = False
    _staging: Path | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # A signal asks for a save before it is decided when saves are due.
        for callback in (callbacks.StopOnSignal(), callbacks.SaveWhatIsWhole(), callbacks.StopOnNan(), _Resumed()):
            self.add_callback(callback)

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save under another name; rename once every process has written its part; only then older ones go."""
        folder, name = Path(super()._get_output_dir(trial)), f"checkpoint-{self.state.global_step}"
        with checkpoints.staged(folder, cleans=self.args.should_save) as staging:
            self.accelerator.wait_for_everyone()
            self._staging = staging
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            if self.state.best_model_checkpoint == str(staging / name):
                self.state.best_model_checkpoint = str(folder / name)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self._commit(staging, name, folder)
            self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(folder / name))

    def _commit(self, staging: Path, name: str, folder: Path) -> None:
        self.state.save_to_json(str(staging / name / STATE_FILE))
        if self.identity is not None:
            write_json(staging / name / IDENTITY_FILE, self.identity)
        newest = checkpoints.commit(staging, name, folder)
        best = self.state.best_model_checkpoint
        checkpoints.rotate(folder, self.args.save_total_limit, newest, Path(best) if best else None)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if self._staging is None:  # not from a name that is about to change
            super()._push_from_checkpoint(checkpoint_folder)

    def _run_epoch(self, **options: Any) -> None:  # type: ignore[override]  # Trainer names all of them
        """Run an epoch, unless training was over in the checkpoint: Trainer would take one step more."""
        stored: Any = self.state.stateful_callbacks
        stopped = stored.get("TrainerControl", {}).get("args", {}).get("should_training_stop", False)
        over = self.state.global_step >= self.state.max_steps or stopped
        if over and self.state.global_step == self._initial_global_step > 0:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**options)

    def _finalize_training(self, *settings: Any) -> Any:
        """Finish as Trainer does, but keep the newest checkpoint: a run stopped while it is scored goes on from it.

        With a limit of one Trainer would delete all but the best here, and not in one stroke.
        """
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super()._finalize_training(*settings)
        finally:
            self.args.save_total_limit = limit

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Log; at the end, with the loss of the whole run, also where this process did only the end of it."""
        if "train_loss" in logs:
            logs["train_loss"] = mean_loss(self.state.log_history, logs["train_loss"])
            if self.state.global_step == self._initial_global_step:
                for name in ("train_samples_per_second", "train_steps_per_second"):
                    logs.pop(name, None)  # of no step at all
        super().log(logs, *rest)

    def save_finished(self) -> None:
        """Write model, tokenizer and state into the output folder, each file whole or not at all."""
        folder = Path(str(self.args.output_dir))
        self.is_finished = True
        with checkpoints.staged(folder, cleans=self.args.should_save) as staging:
            self.accelerator.wait_for_everyone()
            # Called so, --push_to_hub does not upload before there is a report.
            self.save_model(str(staging), _internal_call=True)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self.state.save_to_json(str(staging / STATE_FILE))
                checkpoints.move_files(staging, folder)
            self.accelerator.wait_for_everyone()


def mean_loss(history: list[dict[str, float]], otherwise: float) -> float:
    """Return the mean training loss per step from the losses that were logged, each the mean since the one before."""
    total, before = 0.0, 0.0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
    return total / before if before else otherwise


class _Resumed(TrainerCallback):
    """Finds the best checkpoint of a resumed run where its folder is today."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Before where it was: the folder that this one is a copy of may still be there, and hold another run by now.
        here = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if here.is_dir():
            state.best_model_checkpoint = str(here)
