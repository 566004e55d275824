"""One forward and backward pass of two rows, before anything is paid for a model that cannot do it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from bertlab.cli.arguments import RunArguments
from bertlab.console import warning
from bertlab.errors import UserError, first_line
from bertlab.models import parts
from bertlab.training import distributed
from bertlab.training.failures import NO_MEMORY_TEXTS
from bertlab.training.optimizer import check_optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments

# The two rows are the longest and the shortest of so many, so that one of them is padded.
ROWS_SEARCHED = 1000
# Settings of activation checkpointing that are not for torch.
OF_TRANSFORMERS = ("every_n_layers", "offload")


def check_model(
    *,
    model: "PreTrainedModel",
    args: "TrainingArguments",
    run: RunArguments,
    data_collator: Any = None,
    train_dataset: Any = None,
    eval_dataset: Any = None,
    compute_loss_func: Any = None,
    **_: Any,
) -> str | None:
    """Compute the loss and gradients of two rows on the run's device in its precision; the model stays as it is.

    Random numbers are drawn; Trainer seeds its generators again when it is made.

    Where --precision auto has chosen 16 bits that the model cannot compute in, `args` becomes float32, and the reason
    is returned.

    Raises:
        UserError: the model fails, its loss is not a finite number, or it cannot do what a flag asks for.
    """
    _refuse_flags(model, args, run)
    rows = next((data for data in (train_dataset, eval_dataset) if hasattr(data, "select") and len(data)), None)
    if rows is None or distributed.shards_model(args):
        return None
    batch = data_collator([rows[index] for index in _shortest_and_longest(rows)])
    model.to(args.device)  # type: ignore[arg-type]  # a decorator hides its signature
    if args.do_train and args.activation_checkpointing:
        _checkpoint_activations(model, cast(Mapping[str, Any], args.activation_checkpointing_kwargs or {}))
    chosen = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    problem = _failure(model, batch, compute_loss_func, chosen)
    if problem is None:
        return None
    kind = parts.unwrap(model).config.model_type
    if chosen == "fp32" or _failure(model, batch, compute_loss_func, "fp32") is not None:
        doubtful = {
            "activation_checkpointing_kwargs": args.activation_checkpointing_kwargs,
            "attn_implementation": parts.unwrap(model).config._attn_implementation not in (None, "eager", "sdpa"),
        }
        hint = next((f"Leave --{name} out." for name, given in doubtful.items() if given), "Choose another model.")
        raise UserError(f"a {kind} model fails on two rows of this data: {problem}.", hint)
    if run.precision != "auto":
        raise UserError(f"a {kind} model fails in {chosen}: {problem}.", "Pass --precision fp32.")
    warning(f"a {kind} model fails in {chosen} ({problem}); this run computes in fp32.")
    args.bf16 = args.fp16 = False
    args.mixed_precision = "no"
    return f"{kind} fails in {chosen}"


def _refuse_flags(model: "PreTrainedModel", args: "TrainingArguments", run: RunArguments) -> None:
    kind = model.config.model_type
    if args.do_train:
        check_optimizer(args, model)
    if args.activation_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(f"--activation_checkpointing: {kind} models cannot do it.", "Leave it out.")
    # CANINE has no word embeddings, and I-BERT's return a tuple.
    if args.neftune_noise_alpha is not None and not isinstance(parts.word_embeddings(model), torch.nn.Embedding):
        raise UserError(f"--neftune_noise_alpha: {kind} models cannot do it.", "Leave it out.")
    if run.lora_merge and distributed.uses_fsdp(args):
        raise UserError("--lora_merge needs the whole model, which --fsdp shards.", "Leave --lora_merge out.")


def _shortest_and_longest(rows: Any) -> tuple[int, int]:
    lengths = rows.select(range(min(len(rows), ROWS_SEARCHED)))["length"][:]
    return int(np.argmin(lengths)), int(np.argmax(lengths))


def _failure(model: Any, batch: dict[str, torch.Tensor], loss_of: Any, precision: str) -> str | None:
    """Return why loss or gradients cannot be computed, or None."""
    inputs = {name: values.to(model.device) for name, values in batch.items()}
    labels = inputs.pop("labels", None)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    try:
        with _without_trace(model), torch.autocast(model.device.type, dtype=dtype, enabled=precision != "fp32"):
            outputs = model(**inputs)
            loss = outputs[0].float().sum() if labels is None else loss_of(outputs, labels)
            loss.backward()
    except Exception as error:  # whatever a model's code raises
        if isinstance(error, MemoryError) or any(text in str(error) for text in NO_MEMORY_TEXTS):
            raise
        return first_line(error)
    return None if torch.isfinite(loss) else "its loss is not a finite number"


def _checkpoint_activations(model: Any, settings: Mapping[str, Any]) -> None:
    """Let the model compute activations again, as Trainer will.

    Raises:
        UserError: it cannot do that with these settings.
    """
    of_torch = {name: value for name, value in settings.items() if name not in OF_TRANSFORMERS}
    own = {name: settings[name] for name in OF_TRANSFORMERS if name in settings}
    try:
        model.activation_checkpointing_enable(of_torch or None, **own)
    except Exception as error:  # whatever a model's code raises
        problem = f"--activation_checkpointing_kwargs: {first_line(error)}."
        raise UserError(problem, "Leave --activation_checkpointing_kwargs out.") from error


@contextmanager
def _without_trace(model: torch.nn.Module) -> Iterator[None]:
    """Put back buffers (I-BERT's ranges) and mode, and drop the gradients."""
    training, buffers = model.training, [(buffer, buffer.clone()) for buffer in model.buffers()]
    model.train()
    try:
        yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        model.zero_grad()
        model.train(training)
