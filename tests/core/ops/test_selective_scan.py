from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from lina.core.ops import selective_scan as module
from lina.core.ops.selective_scan import CHUNK, selective_scan, selective_scan_step
from tests.core.ops.recurrence import assert_near, with_gradients

GOLDEN = Path(__file__).parents[2] / "golden" / "mamba.safetensors"
ROWS, CHANNELS, STATE = 2, 5, 3
LENGTHS = (1, CHUNK - 1, CHUNK, CHUNK + 1, 100)


def inputs(frames: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    """u, delta, a, b, c, skip and a state that is not empty."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    delta = F.softplus(2 * randn(ROWS, frames, CHANNELS) - 1)
    u, b, c = (randn(ROWS, frames, width) for width in (CHANNELS, STATE, STATE))
    return [u, delta, -randn(CHANNELS, STATE).exp(), b, c, randn(CHANNELS), randn(ROWS, CHANNELS, STATE)]


def loop(
    u: Tensor,
    delta: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor,
    memory: Tensor,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The recurrence, written out."""
    out = []
    for t in range(u.shape[1]):
        if starts is not None:
            memory = torch.where(starts[:, t, None, None], 0.0, memory)
        memory = torch.einsum("bdn,bdn->bdn", torch.exp(delta[:, t, :, None] * a), memory)
        memory = memory + torch.einsum("bd,bn,bd->bdn", delta[:, t], b[:, t], u[:, t])
        out.append(torch.einsum("bdn,bn->bd", memory, c[:, t]) + skip * u[:, t])
    return torch.stack(out, 1), memory


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("frames", LENGTHS)
def test_agrees_with_the_recurrence(frames: int, restarts: bool) -> None:
    tensors = inputs(frames, torch.float64)
    starts = torch.rand(ROWS, frames, generator=torch.Generator().manual_seed(3)) < 0.1 if restarts else None
    expected = with_gradients(loop, tensors, starts)
    assert_near(with_gradients(selective_scan, tensors, starts), expected, 1e-13)
    found = with_gradients(selective_scan, [tensor.float() for tensor in tensors], starts)
    assert {tensor.dtype for tensor in found} == {torch.float32}
    assert_near(found, expected, 5e-6)


def test_agrees_with_mamba_ssm() -> None:
    """Its selective_scan_ref, outputs, final state and gradients: tests/golden/make_mamba.py."""
    golden = {name.removeprefix("scan."): value for name, value in load_file(GOLDEN).items()}

    def frames_first(name: str) -> Tensor:
        return golden[name].transpose(1, 2) if golden[name].dim() == 3 else golden[name]

    names = ("u", "delta", "a", "b", "c", "skip")
    arguments = [frames_first(name).clone().requires_grad_() for name in names]
    u, delta, a, b, c, skip = arguments
    y, final = selective_scan(u, delta, a, b, c, skip, torch.zeros_like(golden["final"]))
    loss = (y * frames_first("weight")).sum() + (final * golden["final_weight"]).sum()
    gradients = torch.autograd.grad(loss, arguments)
    torch.testing.assert_close(y, frames_first("y"), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(final, golden["final"], atol=1e-5, rtol=1e-5)
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(gradient, frames_first(f"gradient.{name}"), atol=2e-5, rtol=2e-5)


def test_step_agrees_with_the_recurrence() -> None:
    u, delta, a, b, c, skip, memory = inputs(20, torch.float64, seed=1)
    expected, final = loop(u, delta, a, b, c, skip, memory)
    for t in range(20):
        y, memory = selective_scan_step(u[:, t], delta[:, t], a, b[:, t], c[:, t], skip, memory)
        torch.testing.assert_close(y, expected[:, t])
    torch.testing.assert_close(memory, final)


@pytest.mark.parametrize("frames", [1, CHUNK + 1])
def test_gradients_are_those_of_finite_differences(frames: int) -> None:
    tensors = [tensor.requires_grad_() for tensor in inputs(frames, torch.float64)]
    assert torch.autograd.gradcheck(selective_scan, tensors, fast_mode=True)


@pytest.mark.parametrize("frames", [1, 40])
def test_extreme_decays_stay_finite_and_right(frames: int) -> None:
    """From hardly forgetting (-1e-4) to forgetting at once (-1e4), mixed over channels and frames."""
    tensors = inputs(frames)
    generator = torch.Generator().manual_seed(2)
    tensors[1] = 10 ** (4 * torch.rand(tensors[1].shape, generator=generator) - 2)
    tensors[2] = -(10 ** (4 * torch.rand(tensors[2].shape, generator=generator) - 2))
    got = with_gradients(selective_scan, tensors)
    assert all(bool(tensor.isfinite().all()) for tensor in got)
    assert_near(got, with_gradients(loop, [tensor.double() for tensor in tensors]), 2e-6)


def test_a_gate_that_is_shut_has_no_gradient_of_rounding() -> None:
    """Nothing passes from frame to frame, so nothing depends on how fast it fades."""
    tensors = inputs(40)
    tensors[1], tensors[2] = torch.full_like(tensors[1], 100.0), torch.full_like(tensors[2], -100.0)
    assert not with_gradients(selective_scan, tensors)[4].any()


def test_a_start_forgets_all_before_it_whatever_it_was() -> None:
    tensors = inputs(30)
    tensors[6] = torch.full_like(tensors[6], 1e30)
    starts = torch.zeros(ROWS, 30, dtype=torch.bool)
    starts[:, 0] = True
    found = selective_scan(*tensors, starts=starts)  # type: ignore[misc]
    empty = selective_scan(*tensors[:6], torch.zeros_like(tensors[6]))  # type: ignore[call-arg]
    torch.testing.assert_close(found, empty)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = inputs(100)
    expected = with_gradients(selective_scan, tensors)
    monkeypatch.setattr(module, "CACHED", 3 * CHANNELS * STATE // torch.get_num_threads() + 1)
    assert_near(with_gradients(selective_scan, tensors), expected, 1e-6)


def test_memory_for_the_backward_pass_is_small() -> None:
    """The arguments and the states at the borders of chunks, but nothing of the size of all states."""
    frames, channels, state = 160, 32, 16
    u, delta = torch.randn(1, frames, channels), torch.rand(1, frames, channels)
    b, c = torch.randn(2, 1, frames, state)
    a, memory = -torch.rand(channels, state), torch.zeros(1, channels, state)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):  # type: ignore[func-returns-value]
        selective_scan(u.requires_grad_(), delta, a, b, c, torch.ones(channels), memory)
    whole = frames * channels * state
    assert max(tensor.numel() for tensor in kept) <= whole // 16
    assert sum(tensor.numel() for tensor in kept) < whole // 3
