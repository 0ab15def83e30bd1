from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.fused import gated_linear_attention as fused_gla
from lina.backbones.rwkv import rwkv6
from lina.backbones.rwkv.rwkv6 import RWKV6, RWKV6Config
from lina.core.errors import PluginError, SpecError
from lina.core.ops.gated_linear_attention import gated_linear_attention
from lina.core.state import leaves
from tests.backbones.fake_kernels import stand_ins


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="rwkv6: d_model = 16 is not a multiple of n_heads = 3"):
        RWKV6.build(d_model=16, n_layers=1, config=RWKV6Config(n_heads=3))


def test_a_narrow_network_still_mixes_channels() -> None:
    stack = RWKV6.build(d_model=4, n_layers=1, config=RWKV6Config(n_heads=2))
    assert stack.get_parameter("layers.0.cmix.key.weight").shape == (32, 4)
    wide = RWKV6.build(d_model=64, n_layers=1, config=RWKV6Config())
    assert wide.get_parameter("layers.0.cmix.key.weight").shape == (224, 64)


def test_mixing_begins_as_in_rwkv() -> None:
    """The first layer listens to the frame before in its first channels most; the last blends nearly evenly."""
    stack = RWKV6.build(d_model=64, n_layers=2, config=RWKV6Config())
    first, last = (stack.get_submodule(f"layers.{layer}.tmix").get_parameter for layer in (0, 1))
    channel = torch.arange(64) / 64
    torch.testing.assert_close(first("time_maa_k").flatten(), 1 - channel)
    torch.testing.assert_close(last("time_maa_v").flatten(), 1 - channel.sqrt() - 0.3)
    torch.testing.assert_close(last("time_maa_g").flatten(), 1 - channel**0.25)
    decays = first("time_decay").flatten()
    torch.testing.assert_close(decays[[0, 63]], torch.tensor([-6.0, -1.0]))
    torch.testing.assert_close(decays[32], torch.tensor(-6 + 5 * (32 / 63) ** 0.7))
    torch.testing.assert_close(
        last("time_faaaa").flatten()[:3], torch.tensor([1.0, 62 / 63 + 0.1, 61 / 63 - 0.1])
    )
    alone = RWKV6.build(d_model=64, n_layers=1, config=RWKV6Config())
    assert alone.get_parameter("layers.0.tmix.time_faaaa").shape == (4, 16)


def test_checkpointing_changes_no_number() -> None:
    def gradients(checkpointing: bool) -> list[Tensor]:
        torch.manual_seed(0)
        stack = RWKV6.build(**RWKV6.example())
        stack.gradient_checkpointing = checkpointing
        x = torch.randn(2, 20, 32, requires_grad=True)
        starts = torch.rand(2, 20) < 0.2
        out, state = stack.parallel_forward(x, stack.initial_state(2), starts)
        loss = out.square().sum() + sum(leaf.square().sum() for leaf in leaves(state))
        return [out.detach(), *torch.autograd.grad(loss, [x, *stack.parameters()])]

    for plain, checkpointed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, checkpointed)


@torch.no_grad()
def test_a_bfloat16_model_keeps_its_state_in_float32() -> None:
    stack = RWKV6.build(**RWKV6.example()).to(torch.bfloat16)
    out, state = stack.parallel_forward(torch.randn(1, 5, 32).bfloat16(), stack.initial_state(1))
    output, after = stack.step(torch.randn(1, 32).bfloat16(), state)
    assert out.dtype == output.dtype == torch.bfloat16
    assert {leaf.dtype for leaf in (*leaves(state), *leaves(after))} == {torch.float32}


def test_fused_kernels_need_a_gpu() -> None:
    stack = RWKV6.build(d_model=32, n_layers=1, config=RWKV6Config(kernels="fused"))
    with pytest.raises(PluginError, match=r"rwkv6: config\.kernels is 'fused', but the model is on the CPU"):
        stack.parallel_forward(torch.randn(1, 3, 32), stack.initial_state(1))


@pytest.mark.parametrize("frames", [3, 65])
def test_the_fused_form_is_gated_linear_attentions(monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    """Decays beyond the kernels' digits are cut, which changes nothing."""

    def run(q: Tensor, k: Tensor, v: Tensor, g: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
        assert inputs["output_final_state"]
        assert g.min() >= fused_gla.FORGOTTEN
        return gated_linear_attention(q, k, v, g, inputs["initial_state"], inputs["scale"])

    calls = stand_ins(monkeypatch, "gla", run)
    torch.manual_seed(0)
    stack: Any = RWKV6.build(d_model=32, n_layers=1, config=RWKV6Config(n_heads=2))
    RWKV6.extreme(stack)
    x = torch.randn(2, frames, 32)
    results = []
    for fast in (False, True):
        monkeypatch.setattr(rwkv6, "use_fused_kernel", lambda *_, fast=fast: fast)
        stack.zero_grad()
        out, after = stack.parallel_forward(x, stack.initial_state(2))
        (
            out.square().sum() + sum(leaf.sum() for leaf in leaves(after) if leaf.is_floating_point())
        ).backward()
        results.append([out, *leaves(after), *(parameter.grad for parameter in stack.parameters())])
    assert calls == [f"{'chunk' if frames > fused_gla.SHORT else 'fused_recurrent'}_gla"]
    for plain, found in zip(*results, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-5)
