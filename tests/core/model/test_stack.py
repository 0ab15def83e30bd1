from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lina.backbones.gla import GLA, GLAConfig
from lina.backbones.transformer import Transformer, TransformerConfig
from lina.core.model.stack import Layers, ResidualStack, SwiGLU
from lina.core.protocols import takes_starts
from lina.core.state import leaves
from tests.core.toy_backbone import DiagonalDecay


class Echo(nn.Module):
    """A mixer that returns its input, and counts."""

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch)

    def parallel_forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return x, state + x.shape[1]

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return x, state + 1


@torch.no_grad()
def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    stack = ResidualStack([Echo()], 6)
    block: Any = stack.layers[0]
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 6)
    mixed = x + block.norm1(x)
    expected = mixed + block.cmix(block.norm2(mixed))
    out, (count,) = stack.parallel_forward(x, stack.initial_state(2))
    torch.testing.assert_close(out, expected)
    assert count.tolist() == [3, 3]
    torch.testing.assert_close(stack.step(x[:, 0], stack.initial_state(2))[0], expected[:, 0])


@torch.no_grad()
def test_swiglu_by_hand() -> None:
    torch.manual_seed(0)
    mix, x = SwiGLU(6), torch.randn(2, 6)
    gate, value = (x @ mix.p_in.weight.T + mix.p_in.bias).split(8, -1)
    expected = (gate * gate.sigmoid() * value) @ mix.p_out.weight.T + mix.p_out.bias
    torch.testing.assert_close(mix(x), expected)


def test_checkpointing_changes_no_number() -> None:
    def gradients(checkpointing: bool) -> list[Tensor]:
        torch.manual_seed(0)
        stack = GLA.build(d_model=8, n_layers=2, config=GLAConfig(n_heads=2))
        assert isinstance(stack, ResidualStack)
        stack.gradient_checkpointing = checkpointing
        x = torch.randn(2, 20, 8, requires_grad=True)
        out, state = stack.parallel_forward(x, stack.initial_state(2))
        loss = out.square().sum() + sum(leaf.square().sum() for leaf in leaves(state))
        return [out.detach(), *torch.autograd.grad(loss, [x, *stack.parameters()])]

    for plain, checkpointed in zip(gradients(False), gradients(True), strict=True):
        assert torch.equal(plain, checkpointed)


def test_a_stack_takes_starts_if_its_mixers_do() -> None:
    assert takes_starts(GLA.build(d_model=8, n_layers=2, config=GLAConfig(n_heads=2)))
    assert not takes_starts(Transformer.build(d_model=8, n_layers=2, config=TransformerConfig(n_heads=2)))
    assert not takes_starts(ResidualStack([DiagonalDecay(8)], 8))


@pytest.mark.parametrize("layers", [1, 3])
def test_one_state_a_layer(layers: int) -> None:
    stack = ResidualStack([Echo() for _ in range(layers)], 4)
    assert len(stack.initial_state(2)) == layers
    with pytest.raises(ValueError, match="zip"):
        stack.step(torch.zeros(2, 4), stack.initial_state(2)[1:])


@torch.no_grad()
def test_layers_are_any_backbones_one_after_the_other() -> None:
    torch.manual_seed(0)
    first, second, x = DiagonalDecay(4), DiagonalDecay(4), torch.randn(2, 5, 4)
    stack = Layers([first, second])
    received, one = first.parallel_forward(x, first.initial_state(2))
    expected, other = second.parallel_forward(received, second.initial_state(2))
    out, state = stack.parallel_forward(x, stack.initial_state(2))
    torch.testing.assert_close(out, expected)
    for after, before in zip(leaves(state), leaves((one, other)), strict=True):
        torch.testing.assert_close(after, before)
