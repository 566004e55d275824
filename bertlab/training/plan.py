"""Numbers derived from flags, data and machine, printed once before training."""

import math
from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bertlab.console import say, table, warning
from bertlab.training import precision
from bertlab.training.arguments import global_batch, schedule_settings
from bertlab.training.optimizer import layerwise_learning_rates
from bertlab.training.sampling import padding_share

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

    from bertlab.training.trainer import EncoderTrainer


@dataclass(frozen=True)
class Plan:
    """Numbers derived from flags, data and machine."""

    global_batch: int
    batches_per_epoch: int
    steps: int
    warmup_steps: int
    world_size: int
    device: str
    precision: str
    precision_reason: str
    trainable: int
    parameters: int
    padding_waste: float | None
    # With --layerwise_lr_decay: the rate of every part, the head's first.
    learning_rates: dict[str, float]

    def line(self) -> str:
        """Return the plan as one readable line or two."""
        epoch = f"{self.batches_per_epoch} batches an epoch, " if self.batches_per_epoch else ""
        waste = "" if self.padding_waste is None else f"; padding {self.padding_waste:.1%} of the tokens"
        rates = [f"{rate:.3g} ({part})" for part, rate in self.learning_rates.items()]
        return (
            f"global batch {self.global_batch}, {epoch}{self.steps} steps "
            f"({self.warmup_steps} warm-up); trainable parameters: {self.trainable:,} of {self.parameters:,}; "
            f"{self.world_size} × {self.device}, {self.precision} ({self.precision_reason}){waste}"
            + (f"; learning rate {rates[0]} … {rates[-1]}" if rates else "")
        )


def print_parameters(model: "PreTrainedModel") -> None:
    """Print the name, shape and size of every parameter, whether it trains, and the totals."""
    parameters = list(model.named_parameters())
    rows = [
        (name, " × ".join(map(str, value.shape)), f"{value.numel():,}", "yes" if value.requires_grad else "frozen")
        for name, value in parameters
    ]
    say(table(rows, ("parameter", "shape", "values", "trains")))
    total, trained = model.num_parameters(), model.num_parameters(only_trainable=True)
    say(f"\n{len(parameters)} named parameters with {total:,} values; trainable parameters: {trained:,}")


def describe_plan(trainer: "EncoderTrainer") -> Plan:
    """Return and print the numbers derived from flags, data and machine; length and padding of a stream are unknown."""
    args, model, decay = trainer.args, cast("PreTrainedModel", trainer.model), trainer.run.layerwise_lr_decay
    train: Any = trainer.train_dataset
    batches = len(train) / global_batch(args) if isinstance(train, Sized) else 0
    per_epoch = math.floor(batches) if args.dataloader_drop_last else math.ceil(batches)
    steps = args.max_steps if args.max_steps > 0 else math.ceil(per_epoch * args.num_train_epochs)
    mixed_precision = trainer.accelerator.mixed_precision
    chosen = "fp32" if mixed_precision == "no" else mixed_precision
    plan = Plan(
        global_batch=global_batch(args),
        batches_per_epoch=per_epoch,
        steps=steps,
        warmup_steps=args.get_warmup_steps(steps),
        world_size=args.world_size,
        device=str(args.device),
        precision=chosen,
        precision_reason=trainer.precision_reason or precision.reason(trainer.run.precision, chosen, args.use_cpu),
        trainable=model.num_parameters(only_trainable=True),
        parameters=model.num_parameters(),
        padding_waste=_padding_waste(trainer, train) if isinstance(train, Sized) else None,
        learning_rates={} if decay == 1 else layerwise_learning_rates(model, args.learning_rate, decay),
    )
    if steps:
        say(f"\n{plan.line()}")
    if 0 < batches < 1:
        warning(
            f"the {len(train)} training examples are fewer than the global batch of {plan.global_batch}, so an epoch "
            "is one step. A smaller --per_device_train_batch_size makes more."
        )
    if steps:
        _warn_of_schedule(args, plan)
    return plan


def _warn_of_schedule(args: "TrainingArguments", plan: Plan) -> None:
    """Warn of phases of the learning rate, and of a wait for the first evaluation, that do not fit the run's length."""
    warmup, steps = plan.warmup_steps, plan.steps
    if warmup > steps:
        warning(
            f"--warmup_steps {args.warmup_steps:g} is longer than the run (steps: {steps}), so the learning rate never "
            f"reaches {args.learning_rate:g}; --warmup_steps 0.1 warms up for a tenth of it."
        )
    settings = schedule_settings(args)
    decay = settings.get("num_decay_steps", 0)
    stable = settings.get("num_stable_steps", steps - warmup - decay)
    if decay and warmup <= steps and (stable < 0 or warmup + stable + decay < steps):
        warning(
            f"--lr_scheduler_kwargs: a warm-up of {warmup} steps and a decay of {decay}, with {max(stable, 0)} between "
            f"them, are not the run (steps: {steps}). Pass num_decay_steps alone, at most {steps - warmup}."
        )
    length = steps if args.eval_strategy == "steps" else steps / (plan.batches_per_epoch or steps)
    if args.eval_strategy != "no" and args.eval_delay > length:
        warning(f"--eval_delay {args.eval_delay:g} is longer than the run, so no evaluation selects or stops anything.")


def _padding_waste(trainer: "EncoderTrainer", train: Any) -> float:
    """Return the share of tokens in the first epoch's batches that are padding."""
    lengths = np.asarray(train["length"][:])
    order = np.random.default_rng(0).permutation(len(lengths)) if trainer.order is None else np.array([*trainer.order])
    return padding_share(lengths, order, trainer.args.train_batch_size, getattr(trainer.data_collator, "pad_to", None))
