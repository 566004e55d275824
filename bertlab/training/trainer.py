"""One path from arguments to a trained Trainer: precision, length-grouped order, selection, evaluation, upload."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    enable_full_determinism,
    get_scheduler,
    set_seed,
)
from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from bertlab import hub
from bertlab.cli.arguments import RunArguments
from bertlab.cli.parser import Arguments
from bertlab.console import notice
from bertlab.data import streaming
from bertlab.data.labels import NO_LABEL, LabelSpace
from bertlab.errors import UserError, did_you_mean
from bertlab.evaluation import evaluate, metrics
from bertlab.models import lora
from bertlab.report import summary
from bertlab.training import distributed, memory, precision
from bertlab.training.loss import ExactLoss, known
from bertlab.training.optimizer import apply_layerwise_lr_decay
from bertlab.training.sampling import LengthGroupedOrder, TokenBatches
from bertlab.training.saving import ResumableTrainer, SavedArguments

if TYPE_CHECKING:
    from datasets import Dataset

    from bertlab.data.dataset import Data


@runtime_checkable
class KnowsItsEpoch(Protocol):
    """What is other in each epoch: the order of the rows, the words that are masked."""

    def set_epoch(self, epoch: int) -> None:
        """Be as in this epoch from now on."""


class _TellEpoch(TrainerCallback):
    """Tells which epoch begins; accelerate does not reach a sampler behind its sharding, nor a collator."""

    def __init__(self, told: Iterable[KnowsItsEpoch]) -> None:
        self.told = tuple(told)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for one in self.told:
            one.set_epoch(int(state.epoch or 0))


class LossOnBar(ProgressCallback):
    """One progress bar that shows the loss, instead of a line for every logged step; evaluations get their line."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show what was logged."""
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        if "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.4f}", epoch=f"{logs.get('epoch', 0):.2f}")
        elif any(key.startswith("eval_") for key in logs):
            shown = {k.removeprefix("eval_"): v for k, v in logs.items() if isinstance(v, float)}
            hidden = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time", "epoch")
            scores = ", ".join(f"{name} {value:.4f}" for name, value in shown.items() if name not in hidden)
            self.training_bar.write(f"epoch {logs.get('epoch', 0):g}: {scores}")


class EncoderTrainer(ResumableTrainer):
    """Trainer with a length-grouped order that is exact under any cut, and evaluation in the order of the input."""

    def __init__(self, *, run: RunArguments, **options: Any) -> None:
        distributed.check_layers(options["model"])
        super().__init__(**options)
        self.run = run
        self._refuse_what_the_model_cannot()
        self.order = self._length_grouped_order()
        self.add_callback(
            _TellEpoch(one for one in (self.order, self.data_collator) if isinstance(one, KnowsItsEpoch))
        )
        if not self.args.disable_tqdm:
            self.remove_callback(ProgressCallback)
            self.add_callback(LossOnBar)
        if run.early_stopping_patience:
            self.add_callback(EarlyStoppingCallback(run.early_stopping_patience, run.early_stopping_threshold))

    def train(self, *settings: Any, **named: Any) -> Any:
        """Train as Trainer does, attention included in --precision bf16."""
        with precision.attention_in_bf16(self.args.bf16 and self.args.device.type == "cpu"):
            return super().train(*settings, **named)

    def _refuse_what_the_model_cannot(self) -> None:
        if self.args.activation_checkpointing and not self.model.supports_gradient_checkpointing:  # type: ignore[union-attr]
            kind = self.model.config.model_type  # type: ignore[union-attr]
            raise UserError(f"--activation_checkpointing: {kind} models cannot do it.", "Leave it out.")
        if self.run.lora_merge and self.is_fsdp_enabled:
            raise UserError("--lora_merge needs the whole model, which --fsdp cuts up.", "Leave --lora_merge out.")

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return Trainer's own optimizer, with learning rates that fall with depth if --layerwise_lr_decay asks."""
        new = self.optimizer is None
        optimizer = super().create_optimizer(model)
        if new and self.run.layerwise_lr_decay < 1:
            whole: Any = self.model if model is None else model
            apply_layerwise_lr_decay(optimizer, whole, self.run.layerwise_lr_decay)
        return optimizer

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:  # torch: other parameter groups than the saved ones
            raise UserError(
                f"--resume: the optimizer in {checkpoint} trained other parameters than this run does ({error}).",
                "Pass the flags the run began with (--layerwise_lr_decay, --freeze_encoder, --freeze_embeddings).",
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if not self.args.should_save:
            return
        folder = Path(str(self.args.output_dir) if output_dir is None else output_dir)
        # Of a model with an adapter Trainer saves the adapter alone, in checkpoints and at the end.
        if lora.is_adapted(self.model) and self.run.lora_merge and self.is_finished:
            lora.save_merged(self.model, folder)
        elif lora.is_adapted(self.model):
            lora.save_config(self.model, folder)
        # A pickle that nothing of ours reads: run.json has what was set.
        (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
        for weights in folder.glob("*.safetensors"):  # safetensors writes them for their owner alone, umask or not
            weights.chmod((folder / "tokenizer_config.json").stat().st_mode)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return super()._get_train_sampler(train_dataset) if self.order is None else self.order

    def init_hf_repo(self, *settings: Any, **named: Any) -> None:
        """Make the repository of --push_to_hub, before anything is trained."""
        try:
            super().init_hf_repo(*settings, **named)
        except Exception as error:  # the Hub's client raises many types
            raise hub.upload_error(error) from error

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Leave README.md as report/card.py writes it, with intervals and baselines, when the run is pushed."""

    def _length_grouped_order(self) -> LengthGroupedOrder | None:
        args = self.args
        rows: Any = self.train_dataset
        if rows is None or isinstance(rows, IterableDataset) or args.train_sampling_strategy != "group_by_length":
            return None
        seed = args.seed if args.data_seed is None else args.data_seed
        return LengthGroupedOrder(np.asarray(rows["length"][:]), summary.global_batch(args), seed)

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> Any:
        """Return the micro-batches of one optimizer step and the number of labels in it, over all processes."""
        cut = (self._without_repeats(batch) for batch in epoch_iterator)
        return super().get_batch_samples(cut, num_batches, device)

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
        args, rows = self.args, self.train_dataset
        # The one leaves the last batch out, the other deals out rows of its own, each once.
        if args.dataloader_drop_last or args.train_sampling_strategy == "batch_rebalance":
            return 0
        if not isinstance(rows, Sized):
            return max(0, self.accelerator.gradient_state.remainder)
        # Not accelerate's: in an epoch resumed in its middle that is the remainder of one process's batch.
        return len(rows) % (args.train_batch_size * args.world_size)

    def prediction_step(self, *given: Any, **options: Any) -> Any:
        """Evaluate one batch as Trainer does, and leave its loss to compute_metrics.

        Trainer would take the mean of the batches' means, in which a batch of few rows weighs as much as one of many.
        """
        loss, logits, labels = super().prediction_step(*given, **options)
        return (loss if logits is None else None), logits, labels

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor | None:
        # The base class takes -100 for a missing label in regression too, where it is a number like any other.
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        items = torch.stack([known(batch["labels"]).sum() for batch in batch_samples]).sum().to(device)
        # At least 1: a process may hold nothing but repeats.
        return self.accelerator.gather(items).sum() if self.args.average_tokens_across_devices else items.clamp(1)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # With group_by_length the base class permutes evaluation too, and predictions come back in another order.
        return None

    def _get_dataloader(self, dataset: Any, description: str, *rest: Any, **options: Any) -> DataLoader:
        """Batch evaluation by tokens instead of rows: short rows, which fill no processor, come in large batches.

        With several processes accelerate deals out batches of equal rows, and it stays at that. What Trainer offers
        for training batches alone would lose rows here (drop_last) or their order (in_order).
        """
        if options.get("is_training"):
            return super()._get_dataloader(dataset, description, *rest, **options)
        fixed = getattr(self.data_collator, "pad_to", None)
        cut: dict[str, Any] = {"batch_size": self.args.eval_batch_size}
        if not fixed and self.args.world_size == 1:
            cut = {"batch_sampler": TokenBatches(np.asarray(dataset["length"][:]), self.args.eval_batch_size)}
        loader = DataLoader(
            self._remove_unused_columns(dataset, description=description),
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            **cut,
        )
        prepared = self.accelerator.prepare(loader)
        # accelerate keeps every loader for good, and with it the list of its batches, at each evaluation anew.
        self.accelerator._dataloaders.remove(prepared)
        return prepared

    def evaluation_loop(self, *given: Any, **options: Any) -> Any:
        """Evaluate as Trainer does, casting the weights to 16 bits once and not for every batch anew.

        Raises:
            UserError: FSDP, which shards a model only together with an optimizer, and nothing was trained.
        """
        if self.is_fsdp_enabled and self.optimizer is None:
            raise UserError("FSDP evaluates only what it has trained.", "Evaluate in one process, without FSDP.")
        # Autocast forgets its casts when the outermost context ends; accelerate opens one in each forward pass. It
        # remembers those of weights that train; frozen ones it casts each time.
        with self.accelerator.autocast():
            return super().evaluation_loop(*given, **options)


def training_arguments(arguments: Arguments, data: "Data") -> TrainingArguments:
    """Return TrainingArguments with what depends on data and machine filled in.

    The best epoch is chosen by the first metric. A value the user gave is never replaced.

    Raises:
        UserError: a combination that TrainingArguments refuses, or that would select on reported data.
    """
    run, values = arguments[RunArguments], dict(arguments.training)
    cpu = bool(values.get("use_cpu")) or distributed.uses_cpu() or not precision.has_accelerator()
    values["use_cpu"] = cpu
    use_all_threads(cpu)
    if cpu:
        memory.keep_freed_memory()
    values.update(precision.choose(run.precision, values, cpu))
    # Every parameter of an encoder takes part in every step; to look for others costs a walk through each graph.
    values.setdefault("ddp_find_unused_parameters", False)
    values = _with_selection(values, data, run)
    if data.stream:
        values = {**streaming.TRAINING_VALUES, **values}
        # A stream has one epoch, which ends with the run.
        values |= {} if "save_strategy" in arguments.given else {"save_strategy": "steps"}
    _check_trackers(values.get("report_to"))
    try:
        args = SavedArguments(**values)
    except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"the training flags do not go together: {reason}.", "See --help.") from error
    if not (args.bf16 or args.fp16):
        # A flag wins over the launcher, whose word TrainingArguments takes where both formats are off.
        args.mixed_precision = "no"
    _check_optimiser_and_schedule(args)
    if "do_eval" in arguments.given and not arguments.training["do_eval"]:
        # TrainingArguments turns it on for any --eval_strategy; a sweep's trials must not score the report splits.
        args.do_eval = False
    distributed.check(args)
    _refuse_to_drop_all(args, data)
    _refuse_to_do_nothing(args, data)
    return args


def _refuse_to_do_nothing(args: TrainingArguments, data: "Data") -> None:
    if not args.do_train and not data.wanted(args):
        raise UserError(
            f"there is no split to evaluate or predict, only {', '.join(data.splits)}.",
            "Cut one off with --validation_fraction, or name its files or splits.",
        )


def _refuse_to_drop_all(args: TrainingArguments, data: "Data") -> None:
    if not (args.do_train and args.dataloader_drop_last and data.train):
        return
    rows, batch = len(data.splits[data.train]), args.train_batch_size * args.world_size
    if rows < batch:
        raise UserError(
            f"--dataloader_drop_last leaves none of the {rows} training rows: a batch takes {batch}.",
            "Leave it out, or pass a smaller --per_device_train_batch_size.",
        )


def _with_selection(values: dict[str, Any], data: "Data", run: RunArguments) -> dict[str, Any]:
    """Return training values that choose the best epoch on the selection split, which no report looks at."""
    if data.watched is None and values.get("eval_strategy", "no") != "no":
        raise UserError(
            f"--eval_strategy {values['eval_strategy']}: there is no split to evaluate.",
            "Name a --validation_file, or cut one off with --validation_fraction 0.1.",
        )
    if values.get("metric_for_best_model"):
        best = values["metric_for_best_model"].removeprefix("eval_")
        _refuse_unknown_metric(best, data)
        # Trainer takes the highest value of anything that is not called a loss.
        values.setdefault("greater_is_better", metrics.GREATER_IS_BETTER.get(best, True))
    if data.selection is None:
        if run.early_stopping_patience:
            raise UserError(
                "--early_stopping_patience needs rows to stop by, apart from those reported.",
                "Add --selection_fraction 0.1.",
            )
        if values.get("load_best_model_at_end"):
            notice("the best epoch is chosen on the split that is reported; --selection_fraction 0.1 avoids that.")
        return values
    if values.get("save_strategy") == "no":
        raise UserError(
            "--save_strategy no keeps no epoch, so the best one cannot be chosen on the selection split.",
            "Leave it out, or pass --selection_fraction 0.",
        )
    lead = data.metrics[0]
    chosen = {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": lead}
    if "metric_for_best_model" not in values:
        chosen["greater_is_better"] = metrics.GREATER_IS_BETTER.get(lead, True)
    return {**chosen, **values}


def _refuse_unknown_metric(name: str, data: "Data") -> None:
    """Refuse a metric that Trainer would miss after the first evaluation."""
    known = ["loss", *dict.fromkeys((*data.metrics, *data.word_metrics))]
    if name not in known:
        raise UserError(f"--metric_for_best_model {name}: this run has no such metric.", did_you_mean(name, known))


def _check_trackers(report_to: list[str] | None) -> None:
    """Refuse a tracker that is not installed before anything is loaded for it."""
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in report_to or []:
        if name not in ("none", "all", *get_available_reporting_integrations()):
            # To install a name nobody knows would run whatever somebody has put under it.
            known = name in INTEGRATION_TO_CALLBACK
            raise UserError(
                f"--report_to {name}: " + ("it is not installed." if known else "there is no such tracker."),
                f"pip install {name}" if known else did_you_mean(name, INTEGRATION_TO_CALLBACK),
            )


def _check_optimiser_and_schedule(args: TrainingArguments) -> None:
    """Refuse an optimizer that is not installed and settings the schedule has not, before training begins."""
    try:
        Trainer.get_optimizer_cls_and_kwargs(args)
    except (ImportError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise UserError(
            f"--optim {OptimizerNames(args.optim).value}: {reason}.", "Install it, or leave --optim out."
        ) from error
    given = args.lr_scheduler_kwargs if isinstance(args.lr_scheduler_kwargs, dict) else {}
    schedule = SchedulerType(args.lr_scheduler_type)
    known = inspect.signature(cast(Callable, TYPE_TO_SCHEDULER_FUNCTION[schedule])).parameters
    for name in given:
        if name not in known:
            problem = f"--lr_scheduler_kwargs: the schedule {schedule.value} has no setting {name!r}."
            raise UserError(problem, did_you_mean(name, known))
    nothing = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    try:
        get_scheduler(schedule, nothing, num_warmup_steps=1, num_training_steps=10, scheduler_specific_kwargs=given)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--lr_scheduler_type {schedule.value}: {str(error).rstrip('.')}.",
            "Its settings go into --lr_scheduler_kwargs '{\"name\": value}'.",
        ) from error


def set_seeds(args: TrainingArguments) -> None:
    """Seed Python, NumPy and torch, so that new weights, dropout and order follow --seed alone."""
    enable_full_determinism(args.seed) if args.full_determinism else set_seed(args.seed)


def use_all_threads(cpu: bool) -> None:
    """Undo a launcher's one thread per process, where the machine has more cores than that.

    `accelerate launch` sets OMP_NUM_THREADS=1 unless told --num_cpu_threads_per_process, and torchrun unless it is
    set, which halves the speed of two cores. A number above 1 is somebody's choice and is left alone.
    """
    launched = any(name in os.environ for name in ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"))
    if not cpu or not launched or os.environ.get("OMP_NUM_THREADS") != "1":
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    threads = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)


def metrics_during_training(
    space: LabelSpace, names: tuple[str, ...], loss: ExactLoss
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the function Trainer calls after each evaluation: the metrics, and the mean loss of all rows."""

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        return evaluate.score(space, names, logits, labels, loss)

    return compute_metrics


def train_and_save(trainer: ResumableTrainer, checkpoint: Path | None) -> dict[str, Any]:
    """Train, or go on from a checkpoint; save model, tokenizer and state; return train_* metrics.

    Raises:
        UserError: several processes wait for parameters that the model does not use, a streamed row is broken, or
            the checkpoint is not of this kind of model.
    """
    if checkpoint is not None:
        lora.check_checkpoint(trainer.model, checkpoint)
        # That evaluation is in the checkpoint; once more, and early stopping would count it as one without progress.
        trainer.args.eval_on_start = False
    try:
        outcome = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except RuntimeError as error:
        if "finished reduction in the prior iteration" not in str(error):
            raise
        raise UserError(
            "some parameters of this model take no part in a step, for which several processes do not look.",
            "Pass --ddp_find_unused_parameters true.",
        ) from error
    trainer.save_finished()
    data = trainer.train_dataset
    rows = len(data) if isinstance(data, Sized) else outcome.global_step * summary.global_batch(trainer.args)
    return {**outcome.metrics, "train_samples": rows}


def publish(trainer: Trainer) -> None:
    """Upload the finished run, model card and all, where --push_to_hub asks for it.

    Raises:
        UserError: the Hub refuses or cannot be reached; the run itself is complete on this disk.
    """
    if not trainer.args.push_to_hub:
        return
    try:
        trainer.push_to_hub()
    except Exception as error:  # the Hub's client raises many types
        folder, reason = trainer.args.output_dir, str(error).splitlines()[0]
        raise UserError(
            f"--push_to_hub: the upload failed ({reason}); the run is whole in {folder}.",
            f"Try `hf upload {trainer.args.hub_model_id or 'NAME'} {folder}`.",
        ) from error


def longest_first(split: "Dataset | None") -> "Dataset | None":
    """Return a split from its longest row to its shortest, so that evaluation batches carry little padding."""
    if split is None:
        return None
    return split.select(np.argsort(-np.asarray(split["length"][:]), kind="stable"))
