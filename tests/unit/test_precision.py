"""The number format of attention with dropout on a CPU follows that of the run, and stays near float32."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bertlab import precision


@pytest.fixture(autouse=True)
def as_before():
    allowed = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    yield
    precision.attend_in(bf16=allowed)


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
    precision.attend_in(bf16=False)
    upcast = (gradient(torch.bfloat16) - exact).norm() / exact.norm()
    precision.attend_in(bf16=True)
    kept = (gradient(torch.bfloat16) - exact).norm() / exact.norm()
    assert upcast != kept, "the setting does nothing in this torch"
    assert kept < 0.01


@pytest.mark.parametrize("bf16", [True, False])
def test_the_setting_follows_the_run(bf16):
    precision.attend_in(bf16=not bf16)
    precision.attend_in(bf16=bf16)
    assert torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed() is bf16
