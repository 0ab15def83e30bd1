"""Fused operators with restarts, over stand-ins of fla's kernels that compute each segment by the reference form."""

import sys
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.fused import (
    delta_rule,
    flash_linear_attention,
    gated_linear_attention,
    scalar_decay_attention,
)
from lina.core.ops import delta_rule as plain_delta
from lina.core.ops import gated_linear_attention as plain_gla
from lina.core.ops import scalar_decay_attention as plain_scalar
from lina.core.ops.rwkv6_attention import rwkv6_attention
from lina.core.ops.segments import keep_segments, segments_of

B, T, H, K, V = 3, 40, 2, 4, 5
Operator = Callable[..., tuple[Tensor, Tensor]]


def by_segment(reference: Operator, *names: str) -> Operator:
    """A kernel of fla, with its contract on shapes, made of a reference form whose arguments are called ``names``."""

    def kernel(
        *,
        initial_state: Tensor,
        output_final_state: bool,
        scale: float,
        cu_seqlens: Tensor,
        cu_seqlens_cpu: Tensor,
        lower_bound: float = 0.0,
        **frames: Tensor,
    ) -> tuple[Tensor, Tensor]:
        assert output_final_state
        assert torch.equal(cu_seqlens.cpu(), cu_seqlens_cpu)
        assert initial_state.shape[0] == len(cu_seqlens) - 1
        out, after = [], []
        for n, (begin, end) in enumerate(pairwise(cu_seqlens_cpu)):
            assert end > begin
            each = [frames[name][:, begin:end] for name in names]
            y, state = reference(*each, initial_state[n : n + 1], scale)
            out.append(y)
            after.append(state)
        return torch.cat(out, 1), torch.cat(after)

    return kernel


def channel_gates(operator: Operator) -> Operator:
    def gated(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return operator(q, k, v, beta, g if g.dim() == 4 else g[..., None], *rest)

    return gated


KERNELS = {
    "gla": {"chunk_gla": by_segment(plain_gla.gated_linear_attention, "q", "k", "v", "g")},
    "simple_gla": {"chunk_simple_gla": by_segment(plain_scalar.scalar_decay_attention, "q", "k", "v", "g")},
    "rwkv7": {"chunk_rwkv7": by_segment(plain_delta.delta_rule, "r", "k", "v", "a", "b", "w")},
    "gated_delta_rule": {
        "chunk_gated_delta_rule": by_segment(
            channel_gates(plain_delta.gated_delta_rule), "q", "k", "v", "beta", "g"
        )
    },
    "kda": {"chunk_kda": by_segment(plain_delta.gated_delta_rule, "q", "k", "v", "beta", "g")},
}


@pytest.fixture(autouse=True)
def fla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash_linear_attention, "shared_decays_are_wrong", lambda: False)
    for name in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, kernels in KERNELS.items():
        module: Any = ModuleType(f"fla.ops.{name}")
        for kernel, function in kernels.items():
            setattr(module, kernel, function)
            setattr(module, kernel.replace("chunk", "fused_recurrent"), None)
        monkeypatch.setitem(sys.modules, module.__name__, module)


def restarts() -> Tensor:
    starts = torch.zeros(B, T, dtype=torch.bool)
    starts[0, [0, 7, 8, 30]] = starts[1, [16, 39]] = True
    return starts


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def outcome(operator: Operator, inputs: list[Tensor], *rest: Any) -> list[Tensor]:
    out, after = operator(*inputs[:-1], inputs[-1], *rest)
    loss = (out * torch.arange(V)).sum() + after.square().sum()
    return [out, after, *torch.autograd.grad(loss, inputs)]


def negative(operator: Operator, gate: int) -> Operator:
    """The operator with argument ``gate`` mapped to log-decays."""

    def mapped(*inputs: Any) -> tuple[Tensor, Tensor]:
        log_decay = 0.6 * torch.nn.functional.logsigmoid(inputs[gate])
        return operator(*inputs[:gate], log_decay, *inputs[gate + 1 :])

    return mapped


HEADS, MEMORY = (B, T, H, K), (B, H, K, V)


@pytest.mark.parametrize(
    ("fused", "reference", "shapes", "gate"),
    [
        (
            gated_linear_attention.gated_linear_attention,
            plain_gla.gated_linear_attention,
            (HEADS, HEADS, (B, T, H, V), HEADS),
            3,
        ),
        (
            scalar_decay_attention.scalar_decay_attention,
            plain_scalar.scalar_decay_attention,
            (HEADS, HEADS, (B, T, H, V), (B, T, H)),
            3,
        ),
        (
            delta_rule.delta_rule,
            plain_delta.delta_rule,
            (HEADS, HEADS, (B, T, H, V), HEADS, HEADS, HEADS),
            5,
        ),
        (
            delta_rule.gated_delta_rule,
            plain_delta.gated_delta_rule,
            (HEADS, HEADS, (B, T, H, V), (B, T, H), (B, T, H, 1)),
            4,
        ),
        (
            delta_rule.gated_delta_rule,
            plain_delta.gated_delta_rule,
            (HEADS, HEADS, (B, T, H, V), (B, T, H), HEADS),
            4,
        ),
    ],
    ids=["gla", "scalar", "delta", "gated-delta", "kda"],
)
def test_segments_are_what_restarts_are(
    fused: Operator, reference: Operator, shapes: tuple[tuple[int, ...], ...], gate: int
) -> None:
    inputs = [0.4 * one for one in tensors(*shapes, MEMORY)]
    starts = restarts()
    expected = outcome(negative(reference, gate), inputs, 0.7, starts)
    found = outcome(negative(fused, gate), inputs, 0.7, starts)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_rwkv6_reads_nothing_across_a_restart() -> None:
    inputs = tensors(HEADS, HEADS, (B, T, H, V), HEADS, (H, K), MEMORY)
    inner = gated_linear_attention.gated_linear_attention
    expected = outcome(negative(rwkv6_attention, 3), inputs, restarts())
    found = outcome(negative(rwkv6_attention, 3), inputs, restarts(), inner)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_segments_are_derived_once_and_kept_with_their_tensor() -> None:
    starts = restarts()
    segments = segments_of(starts)
    assert segments_of(starts) is segments
    assert segments.offsets.tolist() == [0, 7, 8, 30, 40, 56, 79, 80, 120]
    assert segments.first.tolist() == [0, 4, 7]
    assert segments.last.tolist() == [3, 6, 7]
    assert segments.fresh.tolist() == [True, False, False]
    other = torch.zeros(1, 4, dtype=torch.bool)
    keep_segments(other, torch.tensor([[True, False, True, False]]))
    assert segments_of(other).offsets_on_cpu.tolist() == [0, 2, 4], "what is kept is not read again"
