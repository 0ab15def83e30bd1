from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.fused import delta_rule as fused_delta_rule
from lina.backbones.rwkv.rwkv7 import RWKV7, RWKV7Stack
from lina.backbones.rwkv.rwkv7_mixing import RWKV7Config, TimeMixing
from lina.core.errors import PluginError, SpecError
from lina.core.ops.delta_rule import delta_rule
from lina.core.state import leaves
from tests.backbones.fake_kernels import stand_ins


def lively() -> RWKV7Stack:
    """A small stack none of whose matrices is zero, as they are in the beginning."""
    torch.manual_seed(0)
    stack = RWKV7.build(**RWKV7.example())
    for parameter in stack.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return stack


def mixing(stack: RWKV7Stack, layer: int) -> TimeMixing:
    found = stack.layers[layer].tmix
    assert isinstance(found, TimeMixing)
    return found


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="rwkv7: d_model = 16 is not a multiple of n_heads = 3"):
        RWKV7.build(d_model=16, n_layers=1, config=RWKV7Config(n_heads=3))


def test_parameters_begin_as_in_rwkv() -> None:
    stack = RWKV7.build(d_model=64, n_layers=2, config=RWKV7Config())
    first, last = mixing(stack, 0), mixing(stack, 1)
    channel = torch.arange(64) / 64
    torch.testing.assert_close(first.get_parameter("x_w").flatten(), 1 - channel**0.9)
    torch.testing.assert_close(last.get_parameter("x_g").flatten(), 1 - channel**0.1)
    # Heads of 16 channels: the zigzag runs from -1 to 1 in each.
    torch.testing.assert_close(first.w0.flatten()[[0, 63]], torch.tensor([-8.0, 3.0]))
    torch.testing.assert_close(last.w0.flatten()[16], torch.tensor(-5.5 + 6 * (16 / 63) ** 2 - 2.5))
    torch.testing.assert_close(first.a0.flatten()[[0, 63]], torch.tensor([-0.69, 0.31]))
    torch.testing.assert_close(last.v0.flatten()[[0, 63]], torch.tensor([0.93, 0.53]))
    torch.testing.assert_close(first.k_k.flatten()[[0, 63]], torch.tensor([0.76, 0.66]))
    torch.testing.assert_close(first.w2 @ first.w2.T, 0.01 * torch.eye(32), atol=1e-6, rtol=0)
    assert not first.w1.any()
    assert not first.output.weight.any()
    assert 0.04 / 8 < float(first.key.weight.detach().abs().max()) <= 0.05 / 8
    assert first.g1.shape == (64, 32)
    assert not hasattr(first, "v0")


@pytest.mark.parametrize(("width", "ranks"), [(768, (64, 64, 32, 128)), (2048, (128, 128, 64, 224))])
def test_ranks_are_those_that_rwkv_suggests(width: int, ranks: tuple[int, ...]) -> None:
    """For 768: those of the published 0.1B model."""
    with torch.device("meta"):
        layer = mixing(RWKV7.build(d_model=width, n_layers=2, config=RWKV7Config()), 1)
    assert tuple(getattr(layer, name).shape[1] for name in ("w1", "a1", "v1", "g1")) == ranks


@torch.no_grad()
def test_the_first_values_reach_the_second_layer() -> None:
    stack = lively()
    second = mixing(stack, 1)
    second.v0.fill_(50.0)  # values are the first layer's altogether
    second.value.weight.zero_()
    x = torch.randn(1, 9, 32)
    _, state = stack.parallel_forward(x, stack.initial_state(1))
    assert state[1].memory.abs().max() > 1e-3
    mixing(stack, 0).value.weight.zero_()
    _, state = stack.parallel_forward(x, stack.initial_state(1))
    assert not state[1].memory.any()


def test_checkpointing_changes_no_number() -> None:
    def gradients(checkpointing: bool) -> list[Tensor]:
        stack = lively()
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
    stack = lively().to(torch.bfloat16)
    out, state = stack.parallel_forward(torch.randn(1, 5, 32).bfloat16(), stack.initial_state(1))
    outputs, after = stack.step(torch.randn(1, 32).bfloat16(), state)
    assert out.dtype == outputs.dtype == torch.bfloat16
    assert {leaf.dtype for leaf in (*leaves(state), *leaves(after))} == {torch.float32}


def test_fused_kernels_need_a_gpu() -> None:
    stack = RWKV7.build(d_model=32, n_layers=1, config=RWKV7Config(kernels="fused"))
    with pytest.raises(PluginError, match=r"rwkv7: config\.kernels is 'fused', but the model is on the CPU"):
        stack.parallel_forward(torch.randn(1, 3, 32), stack.initial_state(1))


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the called operators of flash-linear-attention, which stand-ins replace."""

    def run(**inputs: Any) -> tuple[Tensor, Tensor]:
        assert inputs["output_final_state"]
        order = ("r", "k", "v", "a", "b", "w", "initial_state", "scale")
        return delta_rule(*(inputs[argument] for argument in order))

    return stand_ins(monkeypatch, "rwkv7", run)


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
    kernel_calls: list[str], frames: int, wants_gradient: bool, grad_enabled: bool, operator: str
) -> None:
    """It has no backward pass."""
    r, k, v, a, b = (torch.randn(1, frames, 2, 4) for _ in range(5))
    decay = -torch.rand(1, frames, 2, 4)
    memory = torch.randn(1, 2, 4, 4, requires_grad=wants_gradient)
    with torch.set_grad_enabled(grad_enabled):
        got = fused_delta_rule.delta_rule(r, k, v, a, b, decay, memory, 0.7)
        expected = delta_rule(r, k, v, a, b, decay, memory, 0.7)
    assert kernel_calls == [f"{operator}_rwkv7"]
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)
