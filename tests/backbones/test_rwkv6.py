from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones import rwkv6_fast
from lina.backbones.rwkv6 import RWKV6, RWKV6Config
from lina.core.bonus_attention import bonus_attention
from lina.core.errors import PluginError, SpecError
from lina.core.state import leaves
from tests.backbones.fake_kernels import stand_ins


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="rwkv6: d_model = 16 is not a multiple of n_heads = 3"):
        RWKV6.build(d_model=16, n_layers=1, config=RWKV6Config(n_heads=3))


def test_a_narrow_network_still_mixes_channels() -> None:
    stack = RWKV6.build(d_model=4, n_layers=1, config=RWKV6Config(n_heads=2))
    assert stack.layers[0].cmix.key.weight.shape == (32, 4)
    assert RWKV6.build(d_model=64, n_layers=1, config=RWKV6Config()).layers[0].cmix.key.weight.shape == (
        224,
        64,
    )


def test_mixing_begins_as_in_rwkv() -> None:
    """The first layer listens to the frame before in its first channels most; the last blends nearly evenly."""
    first, last = (layer.tmix for layer in RWKV6.build(d_model=64, n_layers=2, config=RWKV6Config()).layers)
    channel = torch.arange(64) / 64
    torch.testing.assert_close(first.time_maa_k.flatten(), 1 - channel)
    torch.testing.assert_close(last.time_maa_v.flatten(), 1 - channel.sqrt() - 0.3)
    torch.testing.assert_close(last.time_maa_g.flatten(), 1 - channel**0.25)
    decays = first.time_decay.flatten()
    torch.testing.assert_close(decays[[0, 63]], torch.tensor([-6.0, -1.0]))
    torch.testing.assert_close(decays[32], torch.tensor(-6 + 5 * (32 / 63) ** 0.7))
    torch.testing.assert_close(
        last.time_faaaa.flatten()[:3], torch.tensor([1.0, 62 / 63 + 0.1, 61 / 63 - 0.1])
    )
    assert RWKV6.build(d_model=64, n_layers=1, config=RWKV6Config()).layers[0].tmix.time_faaaa.shape == (
        4,
        16,
    )


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
    said, after = stack.step(torch.randn(1, 32).bfloat16(), state)
    assert out.dtype == said.dtype == torch.bfloat16
    assert {leaf.dtype for leaf in (*leaves(state), *leaves(after))} == {torch.float32}


def test_fast_kernels_want_a_gpu() -> None:
    stack = RWKV6.build(d_model=32, n_layers=1, config=RWKV6Config(kernels="fast"))
    with pytest.raises(PluginError, match=r"rwkv6: config\.kernels is 'fast', but the model is on the CPU"):
        stack.parallel_forward(torch.randn(1, 3, 32), stack.initial_state(1))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which operators of flash-linear-attention, here stand-ins, have been asked."""

    def run(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, **given: Any) -> tuple[Tensor, Tensor]:
        assert (given["scale"], given["output_final_state"]) == (1.0, True)
        assert w.min() >= rwkv6_fast.FORGOTTEN
        return bonus_attention(r, k, v, w, u, given["initial_state"])

    return stand_ins(monkeypatch, "rwkv6", run)


@pytest.mark.parametrize(
    ("frames", "wants_gradient", "grad_enabled", "operator"),
    [
        (3, False, True, "fused_recurrent"),
        (3, True, False, "fused_recurrent"),
        (3, True, True, "chunk"),
        (65, False, True, "chunk"),
    ],
)
def test_no_gradient_goes_through_the_recurrent_kernel(
    asked: list[str], frames: int, wants_gradient: bool, grad_enabled: bool, operator: str
) -> None:
    """Its backward forgets the gradient of the final memory."""
    over_time = [torch.randn(1, frames, 2, 4) for _ in range(4)]
    bonus, memory = torch.randn(2, 4), torch.randn(1, 2, 4, 4, requires_grad=wants_gradient)
    with torch.set_grad_enabled(grad_enabled):
        rwkv6_fast.bonus_attention(*over_time, bonus, memory)  # type: ignore[call-arg]
    assert asked == [f"{operator}_rwkv6"]


@pytest.mark.parametrize("frames", [3, 65])
def test_decays_beyond_the_kernels_digits_are_cut_and_change_nothing(asked: list[str], frames: int) -> None:
    torch.manual_seed(0)
    r, k, v = (torch.randn(1, frames, 2, 4) for _ in range(3))
    log_decay = -(10 ** (8 * torch.rand(1, frames, 2, 4) - 4))
    given = (r, k, v, log_decay, torch.randn(2, 4), torch.randn(1, 2, 4, 4))
    torch.testing.assert_close(rwkv6_fast.bonus_attention(*given), bonus_attention(*given))
    assert len(asked) == 1
