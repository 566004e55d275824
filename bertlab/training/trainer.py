"""The one Trainer: exact loss, length-grouped order, evaluation in order, whole checkpoints; training and upload."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence, Sized
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from huggingface_hub import HfApi
from torch.utils.data import DataLoader, IterableDataset
from transformers import EarlyStoppingCallback, EvalPrediction, PrinterCallback, ProgressCallback, Trainer
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_pt_utils import nested_truncate

from bertlab import hub
from bertlab.cli.arguments import RunArguments
from bertlab.console import quiet_transformers, say, warning
from bertlab.data.labels import NO_LABEL, LabelSchema
from bertlab.errors import UserError, first_line
from bertlab.evaluation import evaluate
from bertlab.io import write_json
from bertlab.models import lora
from bertlab.training import callbacks, checkpoints, distributed, output_dir, precision, preflight, progress
from bertlab.training.arguments import global_batch
from bertlab.training.checkpoints import SIGNATURE_FILE, STATE_FILE
from bertlab.training.loss import StepLoss
from bertlab.training.optimizer import apply_layerwise_lr_decay
from bertlab.training.sampling import LengthGroupedOrder, max_tokens_batches

if TYPE_CHECKING:
    from datasets import Dataset


# What --push_to_hub uploads beside model and tokenizer, and what --push_run_files_to_hub adds.
SCORES = (
    "README.md",
    "results.json",
    ".eval_results/*",
    *(f"{role}_results.json" for role in ("all", "train", "eval", "test")),
)
RUN_FILES = ("predictions/*", "misclassified/*", "report.html", "run.json", STATE_FILE)
# What a checkpoint holds to resume from it; it names paths.
TRAINING_STATE = ("*.pt", "*.pth", "*.bin", "optimizer*", "*fsdp*", STATE_FILE, SIGNATURE_FILE)
# What models return beside logits: encoder-decoders, XLNet.
EXTRA_OUTPUTS = ["past_key_values", "encoder_last_hidden_state", "mems"]


class EncoderTrainer(Trainer):
    """Trainer whose loss is exact under any batch layout, and that can be killed at any moment and resumed.

    Training rows come in length-grouped batches, evaluation rows in the order of the input; checkpoints and model
    appear whole or not at all. tests/invariants/test_trainer_overrides.py holds what each override corrects.
    """

    # What resume.py compares; it goes into each checkpoint.
    run_signature: dict[str, Any] | None = None
    # True once training is over and what is saved is the model itself.
    is_finished = False
    # Model and tokenizer in the output folder, once they are saved.
    saved_files: Sequence[str] = ()

    def __init__(self, *, run: RunArguments, **options: Any) -> None:
        distributed.check_layers(options["model"])
        self.precision_reason = preflight.check_model(run=run, **options)
        output_dir.make_writable(Path(str(options["args"].output_dir)))  # nothing is left of what was refused before
        self.run = run
        super().__init__(**options)
        self.save_total_limit = self.args.save_total_limit
        self.order = self._length_grouped_order()
        varying = [part for part in (self.order, self.data_collator) if hasattr(part, "set_epoch")]
        self.add_callback(callbacks.DeferEpochEndSave())
        self.add_callback(callbacks.StopOnNan())
        self.add_callback(callbacks.ReturnMemoryWhenScarce())
        self.add_callback(callbacks.LocateBestCheckpoint())
        self.add_callback(callbacks.SetEpochCallback(varying))
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else ProgressCallback)
        self.add_callback(progress.LogLines if self.args.disable_tqdm else progress.Bar)
        if run.early_stopping_patience:
            self.add_callback(EarlyStoppingCallback(run.early_stopping_patience, run.early_stopping_threshold))

    # ------------------------------------------------------------------------------------------------------ training

    def train(self, *settings: Any, **named: Any) -> Any:
        """Train as Trainer does, attention included in --precision bf16.

        Trainer deletes checkpoints file by file, with a limit of one also the newest at the end; `_save_checkpoint`
        deletes them instead.
        """
        bf16 = self.args.bf16 and self.args.device.type == "cpu"
        with precision.attention_in_bf16(bf16), _replaced(self.args, save_total_limit=None):
            return super().train(*settings, **named)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return Trainer's own optimizer, with learning rates that fall with depth if --layerwise_lr_decay asks."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if new and self.run.layerwise_lr_decay < 1:
            whole: Any = self.model if model is None else model
            apply_layerwise_lr_decay(optimizer, whole, self.run.layerwise_lr_decay)
        return optimizer

    def _length_grouped_order(self) -> LengthGroupedOrder | None:
        args = self.args
        rows: Any = self.train_dataset
        if rows is None or isinstance(rows, IterableDataset) or args.train_sampling_strategy != "group_by_length":
            return None
        seed = args.seed if args.data_seed is None else args.data_seed
        return LengthGroupedOrder(np.asarray(rows["length"][:]), global_batch(args), seed)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # Trainer's own length-grouped order depends on the number of processes, and on a generator.
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device) -> Any:
        """Return the micro-batches of one optimizer step and the number of labels in it, over all processes."""
        batches = (self._without_repeats(batch) for batch in epoch_iterator)
        return super().get_batch_samples(batches, num_batches, device)

    def _without_repeats(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take the labels off the rows that accelerate repeats at an epoch's end to give every process as many.

        They would count twice in this epoch. The rows themselves stay: BERT's attention takes no batch of none.
        """
        ends = self.args.world_size > 1 and self.accelerator.gradient_state.end_of_dataloader
        remainder = self._rows_of_last_batch() if ends else 0
        if not remainder or "labels" not in batch:
            return batch
        labels = batch["labels"].clone()
        own = max(remainder - len(labels) * self.args.process_index, 0)
        labels[own:] = torch.nan if labels.is_floating_point() else NO_LABEL
        return {**batch, "labels": labels}

    def _rows_of_last_batch(self) -> int:
        """Return how many rows all processes' last batch of an epoch has; 0 if it is full, so that none repeats."""
        args: Any = self.args
        rows = self.train_dataset
        # The first drops the last batch, the second deals out each row once.
        if args.dataloader_drop_last or args.train_sampling_strategy == "batch_rebalance":
            return 0
        if not isinstance(rows, Sized):
            return max(0, int(self.accelerator.gradient_state.remainder))
        # Not accelerate's: in an epoch resumed in its middle that is the remainder of one process's batch.
        return len(rows) % int(args.train_batch_size * args.world_size)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor | None:
        # Trainer takes -100 for a missing label in regression too, where it is a number like any other.
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        loss = cast(StepLoss, self.compute_loss_func)
        items = torch.stack([loss.count(batch["labels"]) for batch in batch_samples]).sum(dim=0).to(device)
        if self.args.average_tokens_across_devices:
            items = self.accelerator.gather(items.unsqueeze(0)).sum(dim=0)
        return items.clamp(min=1)  # a process may hold nothing but repeats

    def _run_epoch(self, **options: Any) -> None:  # type: ignore[override]  # Trainer names all of them
        """Run an epoch, unless training was over in the checkpoint: Trainer would take one step more."""
        stored: Any = self.state.stateful_callbacks
        stopped = stored.get("TrainerControl", {}).get("args", {}).get("should_training_stop", False)
        over = self.state.global_step >= self.state.max_steps or stopped
        if over and self.state.global_step == self._initial_global_step > 0:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**options)  # type: ignore[no-untyped-call]

    def log(self, logs: dict[str, float], *rest: Any) -> None:
        """Log; at the end with the loss of the whole run, where Trainer takes that since the run was resumed."""
        if "train_loss" in logs:
            logs["train_loss"] = mean_loss(self.state.log_history, logs["train_loss"])
            if self.state.global_step == self._initial_global_step:
                for name in ("train_samples_per_second", "train_steps_per_second"):
                    logs.pop(name, None)  # of no step at all
        super().log(logs, *rest)

    # ---------------------------------------------------------------------------------------------------- evaluation

    @cached_property
    def _eval_loader(self) -> DataLoader[Any]:
        # Made once: accelerate keeps every loader, and with it the list of its batches, until training starts.
        return self.get_test_dataloader(self.eval_dataset)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Return the batches of a split, or of `eval_dataset`, in the order of its rows."""
        own = eval_dataset is None or eval_dataset is self.eval_dataset
        return self._eval_loader if own else self.get_test_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Any]:
        """Return the batches of a split in the order of its rows, bounded by tokens.

        Trainer permutes rows with group_by_length here too. What it offers for training batches alone would lose rows
        (drop_last) or their order (in_order). Short rows, which fill no processor, come in large batches.
        """
        batches: dict[str, Any] = {"batch_size": self.args.eval_batch_size}
        if not getattr(self.data_collator, "pad_to", None):
            lengths = np.asarray(test_dataset["length"][:])
            batches = {"batch_sampler": max_tokens_batches(lengths, self.args.eval_batch_size, self.args.world_size)}
        loader: DataLoader[Any] = DataLoader(
            self._remove_unused_columns(test_dataset),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            **batches,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def prediction_step(self, *given: Any, **options: Any) -> Any:
        """Evaluate one batch as Trainer does, and leave its loss to compute_metrics.

        Trainer would take the mean of the batches' means, in which a batch of few rows weighs as much as one of many.
        """
        options["ignore_keys"] = EXTRA_OUTPUTS
        loss, logits, labels = super().prediction_step(*given, **options)
        return (loss if logits is None else None), logits, labels

    def evaluation_loop(self, dataloader: Any, *given: Any, **options: Any) -> Any:
        """Evaluate as Trainer does, casting the weights to 16 bits once and not for every batch again.

        Rows that several processes repeat are left out at the end: accelerate knows how many there are only where all
        batches have as many rows.

        Raises:
            UserError: FSDP, which shards a model only together with an optimizer, and nothing was trained.
        """
        if self.is_fsdp_enabled and self.optimizer is None:
            raise UserError("FSDP evaluates only what it has trained.", "Evaluate in one process, without FSDP.")
        # Autocast forgets its casts when the outermost context ends; accelerate opens one in each forward pass. It
        # remembers those of weights that train; frozen ones it casts each time.
        rows, compute = len(dataloader.dataset), self.compute_metrics

        def metrics(found: EvalPrediction) -> dict[str, float]:
            return compute(EvalPrediction(*nested_truncate(tuple(found), rows)))  # type: ignore[misc]

        own = _replaced(self, compute_metrics=compute and metrics)
        with self.accelerator.autocast(), precision.output_layer_in_float32(self.model), own:
            output: Any = super().evaluation_loop(dataloader, *given, **options)
        found = {name: getattr(output, name) for name in ("predictions", "label_ids")}
        return output._replace(
            **{name: None if part is None else nested_truncate(part, rows) for name, part in found.items()}
        )

    # -------------------------------------------------------------------------------------------------------- saving

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer, with what makes an adapter complete."""
        in_rust: Any = getattr(self.processing_class, "backend_tokenizer", None)
        if in_rust is not None:  # or it is saved with the truncation of its last call, if there was one
            in_rust.no_truncation()
            in_rust.no_padding()
        with quiet_transformers():
            super().save_model(output_dir, _internal_call)
        if not self.args.should_save:
            return
        folder = Path(str(self.args.output_dir) if output_dir is None else output_dir)
        # Of a model with an adapter Trainer saves the adapter alone, in checkpoints and at the end.
        if lora.has_adapter(self.model) and self.run.lora_merge and self.is_finished:
            lora.save_merged(self.model, folder)
        elif lora.has_adapter(self.model):
            lora.save_base_config(self.model, folder)
        # A pickle that nothing of ours reads: run.json has what was set.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        for weights in folder.glob("*.safetensors"):  # safetensors writes them for their owner alone, umask or not
            weights.chmod((folder / "tokenizer_config.json").stat().st_mode)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Warn as Trainer does of weights that a checkpoint lacks, and not of tied ones, which it has by one name."""
        tied = getattr(self.model, "all_tied_weights_keys", {})
        load_result.missing_keys[:] = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save under another name; rename once every process has written its part; only then delete older ones.

        Trainer writes into the folder that a resumed run looks for, and deletes file by file.
        """
        folder, name = Path(str(self.args.output_dir)), f"checkpoint-{self.state.global_step}"
        with checkpoints.staged(folder, cleans=self.args.should_save) as staging:
            self.accelerator.wait_for_everyone()
            # Trainer would upload all that is in the output folder, and a pickle of its arguments.
            with _replaced(self.args, output_dir=str(staging), push_to_hub=False):
                super()._save_checkpoint(model, trial)
            if self.state.best_model_checkpoint == str(staging / name):
                self.state.best_model_checkpoint = str(folder / name)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                self._commit(staging, name, folder)
            self.accelerator.wait_for_everyone()
        if self.args.push_to_hub and self.args.hub_strategy == "every_save" and self.is_world_process_zero():
            self._push_checkpoint(folder / name)

    def _commit(self, staging: Path, name: str, folder: Path) -> None:
        self.state.save_to_json(str(staging / name / STATE_FILE))
        if self.run_signature is not None:
            write_json(staging / name / SIGNATURE_FILE, self.run_signature)
        newest = checkpoints.commit(staging, name, folder)
        best = self.state.best_model_checkpoint
        checkpoints.rotate(folder, self.save_total_limit, newest, Path(best) if best else None)

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
                self.saved_files = [str(path.relative_to(staging)) for path in staging.rglob("*") if path.is_file()]
                self.state.save_to_json(str(staging / STATE_FILE))
                checkpoints.move_files(staging, folder)
            self.accelerator.wait_for_everyone()

    def init_hf_repo(self, *settings: Any, **named: Any) -> None:
        """Make the repository of --push_to_hub, before anything is trained.

        Raises:
            UserError: the Hub refuses or cannot be reached, or the model is an adapter on one that is not on the Hub.
        """
        model: Any = self.model
        if lora.has_adapter(model) and not self.run.lora_merge and hub.is_local(model.base["name"]):
            raise UserError(
                f"--push_to_hub: others cannot load an adapter on {model.base['name']}.", "Add --lora_merge."
            )
        try:
            super().init_hf_repo(*settings, **named)
        except Exception as error:  # the Hub's client raises many types
            raise hub.upload_error(error) from error

    def push_to_hub(self, *_: Any, **__: Any) -> None:  # type: ignore[override]  # a commit message and the like
        """Upload model, tokenizer, card and scores; Trainer would upload all that is in the output folder.

        Predictions and misclassified examples quote the data, run.json holds paths: --push_run_files_to_hub adds them.
        """
        if self.is_world_process_zero():
            self._upload(Path(str(self.args.output_dir)), "End of training", allow_patterns=self.uploaded_files)

    @property
    def uploaded_files(self) -> list[str]:
        """Names and patterns of the files in the output folder that --push_to_hub uploads."""
        return [*self.saved_files, *SCORES, *(RUN_FILES if self.run.push_run_files_to_hub else ())]

    def _push_checkpoint(self, checkpoint: Path) -> None:
        """Upload model and tokenizer of a checkpoint."""
        try:
            message = f"Training in progress, step {self.state.global_step}"
            self._upload(checkpoint, message, ignore_patterns=list(TRAINING_STATE))
        except Exception as error:  # the Hub's client raises many types
            warning(f"--push_to_hub: {checkpoint} was not uploaded ({error}); training goes on.")

    def _upload(self, folder: Path, message: str, **patterns: Any) -> None:
        HfApi(token=self.args.hub_token).upload_folder(
            repo_id=str(self.hub_model_id),
            folder_path=folder,
            commit_message=message,
            revision=self.args.hub_revision,
            **patterns,
        )


@contextlib.contextmanager
def _replaced(target: Any, **values: Any) -> Iterator[None]:
    """Give attributes of an object other values while a block lasts."""
    before = {name: getattr(target, name) for name in values}
    vars(target).update(values)
    try:
        yield
    finally:
        vars(target).update(before)


def metrics_during_training(
    schema: LabelSchema, names: tuple[str, ...], loss: evaluate.LossOfRows
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function Trainer calls after each evaluation: the metrics, and the mean loss of all rows."""

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        return evaluate.compute_metrics(schema, names, logits, labels, loss)

    return compute_metrics


def train_and_save(trainer: EncoderTrainer, checkpoint: Path | None) -> dict[str, Any]:
    """Train, or resume from a checkpoint; save model, tokenizer and state; return train_* metrics.

    Without training rows nothing is done, and there are no metrics.
    """
    if trainer.train_dataset is None:
        return {}
    if checkpoint is not None:
        # That evaluation is in the checkpoint; early stopping would count a second one as one without progress.
        trainer.args.eval_on_start = False
    outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    say(progress.summary_line(trainer.state, outcome.metrics, trainer.args.metric_for_best_model))
    trainer.save_finished()
    data = trainer.train_dataset
    rows = len(data) if isinstance(data, Sized) else outcome.global_step * global_batch(trainer.args)
    return {**outcome.metrics, "train_samples": rows}


def finish(trainer: EncoderTrainer) -> None:
    """Upload the run with its model card, where --push_to_hub asks for it, and leave the group of its processes.

    Raises:
        UserError: the Hub refuses or cannot be reached; the run itself is complete on this disk.
    """
    try:
        if trainer.args.push_to_hub:
            trainer.push_to_hub()
    except Exception as error:  # the Hub's client raises many types
        folder, reason = trainer.args.output_dir, first_line(error)
        files = [word for name in trainer.uploaded_files for word in ("--include", name)]
        again = shlex.join(["hf", "upload", str(trainer.hub_model_id), str(folder), ".", *files])
        raise UserError(
            f"--push_to_hub: the upload failed ({reason}); the run is complete in {folder}.", f"Try `{again}`."
        ) from error
    trainer.accelerator.state.destroy_process_group()


def longest_first(split: "Dataset | None") -> "Dataset | None":
    """Return a split from its longest row to its shortest, so that evaluation batches carry little padding."""
    if split is None:
        return None
    return split.select(np.argsort(-np.asarray(split["length"][:]), kind="stable"))


def mean_loss(history: list[dict[str, float]], otherwise: float) -> float:
    """Return the mean training loss per step from the losses that were logged, each the mean since the one before."""
    total, before = 0.0, 0.0
    for entry in history:
        if "loss" in entry:
            total += entry["loss"] * (entry["step"] - before)
            before = entry["step"]
    return total / before if before else otherwise
