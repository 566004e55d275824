"""Several processes and GPUs: settings that would change the numbers, shards that fit, no idle GPU."""

import os
from typing import TYPE_CHECKING

import torch

from bertlab.console import warning
from bertlab.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainingArguments


def check_processes(args: "TrainingArguments") -> None:
    """Refuse settings that would change batches or skip sharding; warn of idle GPUs and of an inexact loss.

    With several GPUs and one process, Trainer would use DataParallel; here it uses one GPU.

    Raises:
        UserError: the launcher asks for FSDP, which accelerate does not do on a CPU, or batches would be split so
            that steps are not those of one process.
    """
    if getattr(args.accelerator_config, "split_batches", False):
        raise UserError(
            "--accelerator_config split_batches: a batch would not be what --per_device_train_batch_size says.",
            "Leave it out and divide --per_device_train_batch_size by the number of processes.",
        )
    if "num_steps" in (getattr(args.accelerator_config, "gradient_accumulation_kwargs", None) or {}):
        raise UserError(
            "--accelerator_config num_steps: the flag for it is --gradient_accumulation_steps.", "Pass that instead."
        )
    if not getattr(args.accelerator_config, "even_batches", True):
        raise UserError(
            "--accelerator_config even_batches false: a process without a batch would leave the others waiting.",
            "Leave it out: rows that are repeated to fill a batch are not counted.",
        )
    if _launcher("USE_FSDP") and _distributed_type(args) in ("NO", "MULTI_CPU"):
        raise UserError(
            f"the launcher asks for FSDP, which accelerate does not do on {args.world_size} × {args.device.type}: "
            "every process would hold the whole model.",
            "Use GPUs, or configs/accelerate/cpu_2_processes.yaml.",
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    visible = torch.cuda.device_count() if args.device.type == "cuda" else 0
    if visible > local:
        warning(
            f"{visible} GPUs are visible and {local} {'is' if local == 1 else 'are'} used; "
            f"`accelerate launch --multi_gpu --num_processes {visible}` uses all."
        )
    if args.n_gpu > 1:
        args._n_gpu = 1
    if args.world_size > 1 and not args.average_tokens_across_devices:
        warning(
            "--average_tokens_across_devices false: each process divides by its own labels, so where they hold "
            "unequal numbers of them the loss is not that of one process. Leave it out for the exact one."
        )


def warn_of_no_gpu() -> None:
    """Warn where GPUs were asked for, by a launcher's processes or by their numbers, that are not there."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = named is not None and named[:1] in ("", "-")
    if processes == 1 and named and not hidden:
        warning(
            f"CUDA_VISIBLE_DEVICES is {named}, but PyTorch {torch.__version__} finds no GPU: this run uses the CPU. "
            "Install PyTorch for this machine's CUDA (pytorch.org), or pass --use_cpu true."
        )
    if processes > 1 and not hidden:
        warning(
            f"no GPU is found here, so {processes} processes share this machine's processor. If that is meant, use "
            "configs/accelerate/cpu_2_processes.yaml or --use_cpu true."
        )


def check_layers(model: "PreTrainedModel") -> None:
    """Refuse to shard by a layer that the model does not have.

    Raises:
        UserError: no module is of the class that the accelerate file names.
    """
    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", "") if _launcher("USE_FSDP") else ""
    classes = {type(module).__name__ for module in model.modules()}
    missing = [name for name in named.split(",") if name and name not in classes]
    if missing:
        layers = sorted(name for name in classes if name.endswith("Layer"))
        raise UserError(
            f"fsdp_transformer_layer_cls_to_wrap: this model has no {missing[0]}.",
            f"Its layers are {', '.join(layers) or 'not called Layer'}; `accelerate launch "
            "--fsdp_transformer_layer_cls_to_wrap NAME` names another.",
        )


def uses_fsdp(args: "TrainingArguments") -> bool:
    """Return True where a flag or the launcher asks for FSDP."""
    return bool(args.fsdp) or _launcher("USE_FSDP")


def shards_model(args: "TrainingArguments") -> bool:
    """Return True where FSDP or DeepSpeed cuts the model into shards before it is on any device."""
    return uses_fsdp(args) or bool(args.deepspeed) or _launcher("USE_DEEPSPEED")


def uses_cpu() -> bool:
    """Return True if the accelerate file says use_cpu."""
    return _launcher("USE_CPU")


def _launcher(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_{name}", "false").casefold() in ("1", "true", "yes")


def _distributed_type(args: "TrainingArguments") -> str:
    return args.distributed_state.distributed_type.value if args.distributed_state else "NO"
