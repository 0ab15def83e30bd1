"""Arguments of the kernels; benchmarks/gpu_laws.py checks their results on a GPU."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.fused import gated_linear_attention as fused_gla
from lina.backbones.fused import scalar_decay_attention as fused_scalar_decay
from lina.core.ops.scalar_decay_attention import scalar_decay_attention
from tests.backbones.fake_kernels import shared_decays, stand_ins
from tests.core.model.naive import naive
from tests.core.ops.recurrence import assert_near, with_gradients

KEYS, VALUES = 3, 5
SCALE = KEYS**-0.5


def inputs(frames: int) -> list[Tensor]:
    torch.manual_seed(0)
    log_decay = -(10 ** (8 * torch.rand(2, frames, 4) - 4))
    q, k = (torch.randn(2, frames, 2, KEYS) for _ in range(2))
    return [q, k, torch.randn(2, frames, 4, VALUES), log_decay, torch.randn(2, 4, KEYS, VALUES)]


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that ran, in whose place flash-linear-attention's plain references do."""
    shared = naive("simple_gla", "naive_recurrent_simple_gla")
    channelwise = naive("gla", "naive_recurrent_gla")

    def run(q: Tensor, k: Tensor, v: Tensor, g: Tensor, **options: Any) -> Any:
        assert q.shape[:3] == k.shape[:3] == v.shape[:3] == g.shape
        assert g.min() >= fused_gla.FORGOTTEN
        return shared(q, k, v, g, **options)

    def run_channelwise(q: Tensor, k: Tensor, v: Tensor, g: Tensor, *, scale: float, **options: Any) -> Any:
        assert q.shape == k.shape == g.shape
        assert g.min() >= fused_gla.FORGOTTEN
        assert scale == SCALE, "the reference knows no other"
        return channelwise(q, k, v, g, **options)

    called = stand_ins(monkeypatch, "simple_gla", run)
    return stand_ins(monkeypatch, "gla", run_channelwise, called)


@pytest.mark.parametrize(("are_wrong", "package"), [(False, "simple_gla"), (True, "gla")])
@pytest.mark.parametrize(("frames", "kernel"), [(64, "fused_recurrent"), (65, "chunk")])
def test_equals_the_reference_form(
    monkeypatch: pytest.MonkeyPatch,
    called: list[str],
    frames: int,
    kernel: str,
    are_wrong: bool,
    package: str,
) -> None:
    shared_decays(monkeypatch, are_wrong=are_wrong)
    tensors = inputs(frames)
    expected = with_gradients(scalar_decay_attention, tensors, SCALE)
    assert_near(with_gradients(fused_scalar_decay.scalar_decay_attention, tensors, SCALE), expected, 1e-5)
    assert called == [f"{kernel}_{package}"]
