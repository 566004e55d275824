"""Mixed precision: the dtype of the forward and backward pass, and why it was chosen."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bertlab.errors import UserError
from bertlab.models import parts

# Linux's names of the instructions that multiply matrices in bf16, the fastest first.
CPU_FLAGS = {"amx_bf16": "this CPU has AMX", "avx512_bf16": "this CPU has AVX-512 BF16"}


def choose(asked: str, training: Mapping[str, Any], cpu: bool) -> dict[str, bool]:
    """Return the bf16 and fp16 values for TrainingArguments.

    Master weights stay float32 in every case.

    Raises:
        UserError: fp16 is asked for on a CPU.
    """
    refused = any(training.get(name) is False for name in ("bf16", "fp16"))
    precision = asked
    if precision == "auto":
        precision = "fp32" if refused else automatic(cpu)[0]
    if precision == "fp16" and cpu:
        raise UserError("fp16 does not train on a CPU.", "Pass --precision bf16 or fp32.")
    return {"bf16": precision == "bf16", "fp16": precision == "fp16"}


def requested(asked: str, training: Mapping[str, Any]) -> str:
    """Return the --precision of a run; --bf16 and --fp16 count as those of that name."""
    return next((name for name in ("bf16", "fp16") if training.get(name)), asked)


def automatic(cpu: bool) -> tuple[str, str]:
    """Return what --precision auto means on this machine, and the reason, for the first lines of a run."""
    launcher = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launcher in ("bf16", "fp16"):
        return launcher, "asked for by accelerate launch --mixed_precision"
    if cpu:
        flag = _cpu_flag()
        return ("bf16", CPU_FLAGS[flag]) if flag else ("fp32", "this CPU has neither AMX nor AVX-512 BF16")
    if torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        missing = "this GPU (T4, V100…) has no bf16; --precision fp16 is faster"
        return ("bf16", "this GPU has it") if supported else ("fp32", missing)
    if torch.xpu.is_available() and torch.xpu.is_bf16_supported():
        return "bf16", "this Intel GPU has it"
    if torch.backends.mps.is_available():
        return "fp32", "Apple GPUs before the M3 only emulate bf16; --precision bf16 tries it"
    return "fp32", "no NVIDIA or Intel GPU with bf16"


def reason(asked: str, chosen: str, cpu: bool) -> str:
    """Return why a precision was chosen."""
    name, why = automatic(cpu)
    return why if asked == "auto" and name == chosen else "asked for"


@contextmanager
def attention_in_bf16(enabled: bool) -> Iterator[None]:
    """Compute attention with dropout on a CPU in bf16 while the block lasts; if not `enabled`, as the process is set.

    torch has no fused attention with dropout for a CPU; the plain one casts bf16 to float32 and back, which is up to
    half of a step of long rows. Without that, gradients are as close to float32's as those of the fused attention.
    Method: torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp, which in spite of its name holds for every device.
    """
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(enabled or before)
    try:
        yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


@contextmanager
def output_layer_in_float32(model: Any) -> Iterator[None]:
    """Compute a head's last layer in float32 while the block lasts: in bf16, scores from 4 to 5 are 1/32 apart."""
    size = parts.unwrap(model).config.num_labels
    modules = (module for part in parts.head(model) for module in part.modules())
    layers = [module for module in modules if getattr(module, "out_features", None) == size]
    for layer in layers:
        layer.forward = functools.partial(_without_autocast, layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _without_autocast(
    layer: Any, forward: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
) -> torch.Tensor:
    # The dtype of the weights: float32, but with --bf16_full_eval.
    with torch.autocast(inputs.device.type, enabled=False):
        return forward(inputs.to(layer.weight.dtype))


def _cpu_flag(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the first of CPU_FLAGS that this processor has, or None; only Linux says."""
    flags = cpuinfo.read_text(encoding="utf-8", errors="replace").split() if cpuinfo.is_file() else []
    return next((flag for flag in CPU_FLAGS if flag in flags), None)
