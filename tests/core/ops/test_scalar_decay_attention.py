from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.ops.scalar_decay_attention import CHUNK, scalar_decay_attention, scalar_decay_attention_step
from tests.core.model.naive import naive
from tests.core.ops.recurrence import assert_near, with_gradients

B, H, K, V = 2, 4, 5, 3
LENGTHS = (1, CHUNK - 1, CHUNK, CHUNK + 1, 100)
GROUPS = (1, 2, 4)


def inputs(frames: int, groups: int = 2, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """q, k, v, log-decay (from about -5 to -1e-3 a frame) and a memory that is not zero."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    log_decay = -torch.exp(2 * randn(B, frames, H) - 2)
    return [
        randn(B, frames, groups, K),
        randn(B, frames, groups, K),
        randn(B, frames, H, V),
        log_decay,
        randn(B, H, K, V),
    ]


def each_head_its_own(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    return q.repeat_interleave(H // q.shape[2], 2), k.repeat_interleave(H // k.shape[2], 2)


def loop(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The recurrence, written out."""
    q, k = each_head_its_own(q, k)
    out = []
    for t in range(q.shape[1]):
        memory = torch.einsum("bh,bhkv->bhkv", log_decay[:, t].exp(), memory)
        memory = memory + torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        out.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, t], memory))
    return torch.stack(out, 1), memory


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("frames", LENGTHS)
def test_agrees_with_flash_linear_attention(frames: int, groups: int) -> None:
    naive_recurrent_simple_gla = naive("simple_gla", "naive_recurrent_simple_gla")

    def reference(q: Tensor, k: Tensor, v: Tensor, g: Tensor, memory: Tensor, scale: float) -> Any:
        return naive_recurrent_simple_gla(*each_head_its_own(q, k), v, g, scale=scale, initial_state=memory)

    tensors = inputs(frames, groups)
    expected = with_gradients(reference, tensors, 0.7)
    assert_near(with_gradients(scalar_decay_attention, tensors, 0.7), expected, 1e-5)


@pytest.mark.parametrize("groups", GROUPS)
def test_step_folds_to_the_whole(groups: int) -> None:
    q, k, v, log_decay, memory = inputs(20, groups, seed=1)
    expected, after = loop(q, k, v, log_decay, memory, 0.7)
    for t in range(20):
        out, memory = scalar_decay_attention_step(q[:, t], k[:, t], v[:, t], log_decay[:, t], memory, 0.7)
        torch.testing.assert_close(out, expected[:, t], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(memory, after, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, CHUNK, CHUNK + 1])
def test_gradients_are_those_of_finite_differences(frames: int) -> None:
    q, k, v, log_decay, memory = inputs(frames, 1, torch.float64)
    small = (q[:1, ..., :2], k[:1, ..., :2], v[:1, :, :2, :2], log_decay[:1, :, :2], memory[:1, :2, :2, :2])

    def operator(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> Any:
        return scalar_decay_attention(q, k, v, log_decay, memory, scale=0.7)

    assert torch.autograd.gradcheck(operator, [tensor.requires_grad_() for tensor in small], fast_mode=True)


@pytest.mark.parametrize("frames", [1, 80])
def test_extreme_decays_stay_finite_and_right(frames: int) -> None:
    """From hardly forgetting (-1e-4) to forgetting at once (-1e4), mixed over heads and frames."""
    tensors = inputs(frames)
    generator = torch.Generator().manual_seed(2)
    tensors[3] = -(10 ** (8 * torch.rand(tensors[3].shape, generator=generator) - 4))
    got = with_gradients(scalar_decay_attention, tensors, 1.0)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    assert_near(got, with_gradients(loop, [tensor.double() for tensor in tensors], 1.0), 2e-6)


@pytest.mark.parametrize("decay", [-1e-4, -1.0, -80.0, -1e4])
def test_one_decay_everywhere(decay: float) -> None:
    tensors = inputs(70)
    tensors[3] = torch.full_like(tensors[3], decay)
    expected = with_gradients(loop, [tensor.double() for tensor in tensors], 1.0)
    assert_near(with_gradients(scalar_decay_attention, tensors, 1.0), expected, 5e-6)


def test_minus_infinity_forgets_everything_before() -> None:
    tensors = inputs(70)
    tensors[3][:, 41] = -torch.inf
    got = with_gradients(scalar_decay_attention, tensors, 1.0)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    out, memory = got[:2]
    q, k, v, log_decay = (tensor[:, 41:] for tensor in tensors[:4])
    alone, after = scalar_decay_attention(q, k, v, log_decay, torch.zeros_like(tensors[4]), 1.0)
    torch.testing.assert_close(out[:, 41:], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(memory, after, atol=1e-5, rtol=1e-5)
    assert_near(got, with_gradients(loop, [tensor.double() for tensor in tensors], 1.0), 2e-6)


def test_minus_infinity_in_step_forgets_everything_before() -> None:
    q, k, v, log_decay, memory = inputs(1, groups=4)
    forget = torch.full_like(log_decay[:, 0], -torch.inf)
    _, after = scalar_decay_attention_step(q[:, 0], k[:, 0], v[:, 0], forget, memory, 1.0)
    torch.testing.assert_close(after, k[:, 0, ..., None] * v[:, 0, :, None, :])


def test_a_gate_that_is_shut_has_no_gradient_of_rounding() -> None:
    """Nothing passes from frame to frame, so nothing depends on how much is forgotten."""
    tensors = inputs(70)
    tensors[3] = torch.full_like(tensors[3], -1e3)
    tensors[0], tensors[1] = tensors[0] * 1e3, tensors[1] * 1e3
    assert not with_gradients(scalar_decay_attention, tensors, 1.0)[5].any()
