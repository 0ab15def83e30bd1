from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.core.ops.gated_linear_attention import CHUNK, gated_linear_attention
from lina.core.ops.rwkv6_attention import rwkv6_attention, rwkv6_attention_step
from tests.core.model.naive import naive
from tests.core.ops.recurrence import assert_near, with_gradients

B, H, K, V = 2, 3, 5, 4
LENGTHS = (1, 2, 15, 16, 17, 100)


@pytest.fixture(scope="module")
def reference() -> Callable[..., Any]:
    """flash-linear-attention's own loop, in our layout."""
    recurrence = naive("rwkv6", "naive_recurrent_rwkv6", "recurrent_naive")

    def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        over_time = [tensor.transpose(1, 2) for tensor in arguments[:4]]
        out, memory = recurrence(
            *over_time, arguments[4], scale=1.0, initial_state=arguments[5], output_final_state=True
        )
        return out.transpose(1, 2), memory

    return run


def inputs(frames: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """r, k, v, log-decay (from about -5 to -1e-3 a frame), bonus and a memory that is not zero."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    r, k, v = randn(B, frames, H, K), randn(B, frames, H, K), randn(B, frames, H, V)
    return [r, k, v, -torch.exp(2 * randn(B, frames, H, K) - 2), randn(H, K), randn(B, H, K, V)]


def test_another_form_of_the_inner_operator_is_taken() -> None:
    r, k, v, log_decay, bonus, before = inputs(20)
    scale = 3.0

    def scaled(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        read, memory = gated_linear_attention(*arguments, **options)
        return scale * read, memory

    plain, memory = rwkv6_attention(r, k, v, log_decay, bonus, before)
    other, same = rwkv6_attention(r, k, v, log_decay, bonus, before, inner=scaled)
    own = (r * bonus * k).sum(-1, keepdim=True) * v
    own[:, 0] += (r[:, 0, :, None] @ before).squeeze(-2)
    torch.testing.assert_close(other - own, scale * (plain - own))
    assert torch.equal(memory, same)


def loop(
    r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """The recurrence, written out."""
    out = []
    for t in range(r.shape[1]):
        written = torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        out.append(torch.einsum("bhk,bhkv->bhv", r[:, t], memory + bonus[..., None] * written))
        memory = torch.einsum("bhk,bhkv->bhkv", log_decay[:, t].exp(), memory) + written
    return torch.stack(out, 1), memory


@pytest.mark.parametrize("frames", LENGTHS)
def test_agrees_with_flash_linear_attention(reference: Callable[..., Any], frames: int) -> None:
    tensors = inputs(frames)
    assert_near(with_gradients(rwkv6_attention, tensors), with_gradients(reference, tensors), 1e-5)


@pytest.mark.parametrize("frames", LENGTHS)
def test_step_agrees_with_flash_linear_attention(reference: Callable[..., Any], frames: int) -> None:
    def fold(
        r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        out = []
        for t in range(frames):
            output, memory = rwkv6_attention_step(r[:, t], k[:, t], v[:, t], log_decay[:, t], bonus, memory)
            out.append(output)
        return torch.stack(out, 1), memory

    tensors = inputs(frames, seed=1)
    assert_near(with_gradients(fold, tensors), with_gradients(reference, tensors), 1e-5)


@pytest.mark.parametrize("frames", [1, CHUNK, CHUNK + 1])
def test_gradients_are_those_of_finite_differences(frames: int) -> None:
    r, k, v, log_decay, bonus, memory = inputs(frames, torch.float64)
    over_time = [tensor[:1, :, :2, :2] for tensor in (r, k, v, log_decay)]
    arguments = [*over_time, bonus[:2, :2], memory[:1, :2, :2, :2]]
    for argument in arguments:
        argument.requires_grad_()
    assert torch.autograd.gradcheck(rwkv6_attention, arguments, fast_mode=True)


@pytest.mark.parametrize("frames", [1, 40])
def test_extreme_decays_stay_finite_and_right(frames: int) -> None:
    """From hardly forgetting (-1e-4) to forgetting at once (-1e4), mixed over channels and frames."""
    tensors = inputs(frames)
    generator = torch.Generator().manual_seed(2)
    tensors[3] = -(10 ** (8 * torch.rand(tensors[3].shape, generator=generator) - 4))
    expected = with_gradients(loop, [tensor.double() for tensor in tensors])
    assert_near(with_gradients(rwkv6_attention, tensors), expected, 2e-6)


@pytest.mark.parametrize("decay", [-1e-4, -1.0, -80.0, -1e4])
def test_one_decay_everywhere(decay: float) -> None:
    tensors = inputs(50)
    tensors[3] = torch.full_like(tensors[3], decay)
    expected = with_gradients(loop, [tensor.double() for tensor in tensors])
    assert_near(with_gradients(rwkv6_attention, tensors), expected, 5e-6)


@pytest.mark.parametrize("start", [0, 1, 15, 16, 21, 39])
def test_starts_empty_the_memory_before_their_frame(start: int) -> None:
    tensors = inputs(40)
    starts = torch.zeros(B, 40, dtype=torch.bool)
    starts[1, start] = True

    def restarted(
        r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        return rwkv6_attention(r, k, v, log_decay, bonus, memory, starts)

    def apart(
        r: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, bonus: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        whole, final = loop(r, k, v, log_decay, bonus, memory)
        r, k, v, log_decay = (tensor[1:, start:] for tensor in (r, k, v, log_decay))
        fresh, after = loop(r, k, v, log_decay, bonus, torch.zeros_like(memory[1:]))
        rows = torch.cat([whole[1:, :start], fresh], dim=1)
        return torch.cat([whole[:1], rows]), torch.cat([final[:1], after])

    expected = with_gradients(apart, [tensor.double() for tensor in tensors])
    assert_near(with_gradients(restarted, tensors), expected, 2e-6)
