from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.ops.gated_linear_attention import CHUNK, gated_linear_attention, gated_linear_attention_step
from tests.core.model.naive import naive
from tests.core.ops.recurrence import assert_near, with_gradients

B, H, K, V = 2, 3, 5, 4
LENGTHS = (1, 15, 16, 17, 100)


def inputs(frames: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """q, k, v, log-decay (from about -5 to -1e-3 a frame) and a memory that is not zero."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    log_decay = -torch.exp(2 * randn(B, frames, H, K) - 2)
    return [
        randn(B, frames, H, K),
        randn(B, frames, H, K),
        randn(B, frames, H, V),
        log_decay,
        randn(B, H, K, V),
    ]


def loop(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The recurrence, written out."""
    out = []
    for t in range(q.shape[1]):
        memory = torch.einsum("bhk,bhkv->bhkv", log_decay[:, t].exp(), memory)
        memory = memory + torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        out.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, t], memory))
    return torch.stack(out, 1), memory


@pytest.mark.parametrize("frames", LENGTHS)
def test_agrees_with_flash_linear_attention(frames: int) -> None:
    naive_recurrent_gla = naive("gla", "naive_recurrent_gla")

    def reference(q: Tensor, k: Tensor, v: Tensor, gk: Tensor, memory: Tensor, scale: float) -> Any:
        assert scale == K**-0.5, "the reference knows no other"
        return naive_recurrent_gla(q, k, v, gk, initial_state=memory, output_final_state=True)

    tensors = inputs(frames)
    expected = with_gradients(reference, tensors, K**-0.5)
    assert_near(with_gradients(gated_linear_attention, tensors, K**-0.5), expected, 1e-5)


@pytest.mark.parametrize("frames", LENGTHS)
def test_step_agrees_with_flash_linear_attention(frames: int) -> None:
    naive_recurrent_gla = naive("gla", "naive_recurrent_gla")
    q, k, v, log_decay, memory = inputs(frames, seed=1)
    expected, after = naive_recurrent_gla(q, k, v, log_decay, initial_state=memory, output_final_state=True)
    for t in range(frames):
        out, memory = gated_linear_attention_step(q[:, t], k[:, t], v[:, t], log_decay[:, t], memory, K**-0.5)
        torch.testing.assert_close(out, expected[:, t], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(memory, after, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, CHUNK, CHUNK + 1])
def test_gradients_are_those_of_finite_differences(frames: int) -> None:
    tensors = [t[:1, ..., :2, :2].requires_grad_() for t in inputs(frames, torch.float64)[:4]]
    memory = inputs(1, torch.float64)[4][:1, :2, :2, :2].requires_grad_()

    def operator(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> Any:
        return gated_linear_attention(q, k, v, log_decay, memory, scale=0.7)

    assert torch.autograd.gradcheck(operator, [*tensors, memory], fast_mode=True)


@pytest.mark.parametrize("frames", [1, 40])
def test_extreme_decays_stay_finite_and_right(frames: int) -> None:
    """From hardly forgetting (-1e-4) to forgetting at once (-1e4), mixed over channels and frames."""
    tensors = inputs(frames)
    generator = torch.Generator().manual_seed(2)
    tensors[3] = -(10 ** (8 * torch.rand(tensors[3].shape, generator=generator) - 4))
    got = with_gradients(gated_linear_attention, tensors, 1.0)
    expected = with_gradients(loop, [tensor.double() for tensor in tensors], 1.0)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    assert_near(got, expected, 2e-6)


@pytest.mark.parametrize("decay", [-1e-4, -1.0, -80.0, -1e4])
def test_one_decay_everywhere(decay: float) -> None:
    tensors = inputs(50)
    tensors[3] = torch.full_like(tensors[3], decay)
    expected = with_gradients(loop, [tensor.double() for tensor in tensors], 1.0)
    assert_near(with_gradients(gated_linear_attention, tensors, 1.0), expected, 5e-6)


def test_minus_infinity_forgets_everything_before() -> None:
    tensors = inputs(40)
    tensors[3][:, 21] = -torch.inf
    got = with_gradients(gated_linear_attention, tensors, 1.0)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    out, memory = got[:2]
    q, k, v, log_decay = (tensor[:, 21:].clone() for tensor in tensors[:4])
    log_decay[:, 0] = 0.0
    alone, after = gated_linear_attention(q, k, v, log_decay, torch.zeros_like(tensors[4]), 1.0)
    torch.testing.assert_close(out[:, 21:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(memory, after, atol=1e-5, rtol=1e-5)
    assert_near(got, with_gradients(loop, [tensor.double() for tensor in tensors], 1.0), 2e-6)


def test_minus_infinity_in_step_forgets_everything_before() -> None:
    q, k, v, _, memory = (tensor[:, 0] for tensor in [*inputs(1)[:4], inputs(1)[4][:, None]])
    forget = torch.full_like(k, -torch.inf)
    _, after = gated_linear_attention_step(q, k, v, forget, memory, 1.0)
    torch.testing.assert_close(after, k[..., None] * v[..., None, :])


def test_a_gate_that_is_shut_has_no_gradient_of_rounding() -> None:
    """Nothing passes from frame to frame, so nothing depends on how much is forgotten."""
    tensors = inputs(48)
    tensors[3] = torch.full_like(tensors[3], -1e3)
    tensors[0], tensors[1] = tensors[0] * 1e3, tensors[1] * 1e3
    grad_log_decay = with_gradients(gated_linear_attention, tensors, 1.0)[5]
    assert not grad_log_decay.any()
