"""What the kernels are given; that they compute the same is checked on a GPU by benchmarks/gpu_laws.py."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones import scalar_decay_fast
from lina.core.scalar_decay import scalar_decay_attention
from tests.backbones.fake_kernels import stand_ins
from tests.core.naive import naive


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that ran, in whose place flash-linear-attention's plain reference does."""
    reference = naive("simple_gla", "naive_recurrent_simple_gla")

    def run(q: Tensor, k: Tensor, v: Tensor, g: Tensor, **options: Any) -> Any:
        assert q.shape[:3] == k.shape[:3] == v.shape[:3] == g.shape
        assert g.min() >= scalar_decay_fast.FORGOTTEN
        return reference(q, k, v, g, **options)

    return stand_ins(monkeypatch, "simple_gla", run)


@pytest.mark.parametrize(("frames", "kernel"), [(64, "fused_recurrent_simple_gla"), (65, "chunk_simple_gla")])
def test_is_the_plain_form_by_other_means(called: list[str], frames: int, kernel: str) -> None:
    torch.manual_seed(0)
    log_decay = -(10 ** (8 * torch.rand(2, frames, 4) - 4))
    q, k, v = torch.randn(2, frames, 2, 3), torch.randn(2, frames, 2, 3), torch.randn(2, frames, 4, 5)
    arguments = (q, k, v, log_decay, torch.randn(2, 4, 3, 5), 0.7)
    wanted = scalar_decay_attention(*arguments)
    torch.testing.assert_close(scalar_decay_fast.scalar_decay_attention(*arguments), wanted)
    assert called == [kernel]
