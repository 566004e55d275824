"""Attention with dropout on a CPU computes in the precision of the run, and stays near float32."""

import pytest
import torch
from running import classify, read_json
from torch.nn.attention import SDPBackend, sdpa_kernel

from bertlab.training import precision
from bertlab.training.trainer import EncoderTrainer


def gradient(dtype: torch.dtype) -> torch.Tensor:
    """Return the gradient of attention's output with respect to its queries, by the attention that dropout needs."""
    torch.manual_seed(0)
    query, key, value, weight = torch.randn(4, 2, 12, 64, 32)
    query.requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        out = torch.nn.functional.scaled_dot_product_attention(query.to(dtype), key.to(dtype), value.to(dtype))
    (out.float() * weight).sum().backward()
    assert query.grad is not None
    return query.grad


def test_in_bf16_the_gradients_stay_near_those_of_float32():
    exact = gradient(torch.float32)
    upcast = (gradient(torch.bfloat16) - exact).norm() / exact.norm()
    with precision.attention_in_bf16(True):
        kept = (gradient(torch.bfloat16) - exact).norm() / exact.norm()
    assert upcast != kept, "the setting does nothing in this torch"
    assert kept < 0.01


@pytest.mark.parametrize("enabled", [True, False])
def test_the_setting_holds_within_and_is_put_back_also_after_an_error(enabled):
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    with pytest.raises(ZeroDivisionError), precision.attention_in_bf16(enabled):
        assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() is (enabled or before)
        raise ZeroDivisionError
    assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() is before


@pytest.mark.parametrize(("chosen", "launcher"), [("bf16", "no"), ("fp32", "no"), ("fp32", "bf16")])
def test_a_run_trains_in_its_precision_whatever_the_launcher_says(
    chosen, launcher, tiny_model, sentences, tmp_path, monkeypatch
):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
    seen, used = [], set()
    step = EncoderTrainer.training_step

    def noted(trainer, *given):
        seen.append(torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed())
        used.add(trainer.accelerator.mixed_precision)
        return step(trainer, *given)

    monkeypatch.setattr(EncoderTrainer, "training_step", noted)
    run = {"precision": chosen, "max_steps": 2, "save_strategy": "no"}
    assert classify(tmp_path / "run", model_name_or_path=tiny_model, **sentences, **run) == 0
    assert seen == [chosen == "bf16"] * 2
    assert used == {"no" if chosen == "fp32" else chosen}
    assert read_json(tmp_path / "run" / "run.json")["plan"]["precision"] == chosen
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()


@pytest.mark.parametrize(
    ("flags", "format", "why"),
    [
        ("flags : fpu avx512f amx_bf16 avx512_bf16", "bf16", "AMX"),
        ("flags : fpu avx512f avx512_bf16 fsrm", "bf16", "AVX-512 BF16"),
        ("flags : fpu avx512f avx512_bf16_not", "fp32", "neither AMX nor AVX-512 BF16"),
        (None, "fp32", "neither AMX nor AVX-512 BF16"),
    ],
)
def test_auto_is_bf16_where_the_processor_multiplies_in_it(flags, format, why, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor : 0\n{flags}\n", encoding="utf-8")
    flag = precision._cpu_flag(cpuinfo)
    monkeypatch.setattr(precision, "_cpu_flag", lambda: flag)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert precision.automatic(cpu=True) == (format, f"this CPU has {why}")
