from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.backbones.retnet import RetNet, RetNetConfig, RetNetMixer, RetNetState, turn
from lina.core.errors import PluginError, SpecError
from lina.core.state import leaves
from tests.core.model.naive import naive


def mixer(**config: Any) -> RetNetMixer:
    torch.manual_seed(0)
    return RetNetMixer(16, RetNetConfig(**({"n_heads": 2} | config)))


def by_complex_numbers(x: Tensor) -> Tensor:
    """[B, H, T, D], turned as equation 5 of the paper has it: x_n e^(i n theta)."""
    frames, pairs = x.shape[2], x.shape[3] // 2
    theta = 1 / 10000 ** torch.linspace(0, 1, pairs)
    turned = torch.view_as_complex(x.unflatten(-1, (pairs, 2)))
    turned = turned * torch.exp(1j * torch.arange(frames)[:, None] * theta)
    return torch.view_as_real(turned).flatten(-2)


def reference(layer: RetNetMixer, x: Tensor) -> Tensor:
    """The layer from its equations, its retention being flash-linear-attention's."""

    def heads(projection: torch.nn.Linear) -> Tensor:
        split: Tensor = projection(x).unflatten(-1, (layer.n_heads, -1))
        return split.transpose(1, 2)

    q, k, v = heads(layer.q_proj), heads(layer.k_proj), heads(layer.v_proj)
    out = naive("retention", "naive_retention")(by_complex_numbers(q), by_complex_numbers(k), v)
    out = out.transpose(1, 2).flatten(2)
    normed = layer.group_norm(out.flatten(0, 1)).view_as(out)
    return layer.o_proj(F.silu(layer.g_proj(x)) * normed)  # type: ignore[no-any-return]


@pytest.mark.parametrize("frames", [1, 33, 100])
def test_agrees_with_flash_linear_attention(frames: int) -> None:
    layer = mixer(expand_v=1.5, n_heads=4)
    with torch.no_grad():
        layer.group_norm.weight.add_(torch.randn(24))
        layer.group_norm.bias.add_(torch.randn(24))
    x = torch.randn(2, frames, 16, requires_grad=True)
    weights = torch.randn(2, frames, 16)
    results = []
    for y in (reference(layer, x), layer.parallel_forward(x, layer.initial_state(2))[0]):
        gradients = torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()])
        results.append([y.detach(), *gradients])
    torch.testing.assert_close(results[1], results[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_step_agrees_with_flash_linear_attention() -> None:
    layer, x = mixer(), torch.randn(2, 40, 16)
    state = layer.initial_state(2)
    for t, expected in enumerate(reference(layer, x).unbind(1)):
        y, state = layer.step(x[:, t], state)
        torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
    assert state.position.tolist() == [40, 40]


def test_heads_remember_twice_as_long_each() -> None:
    assert torch.allclose(
        mixer(n_heads=4).log_decay.exp(), 1 - torch.tensor([1 / 32, 1 / 64, 1 / 128, 1 / 256])
    )


def test_scores_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    near = (turn(q, torch.tensor([7])) * turn(k, torch.tensor([3]))).sum()
    far = (turn(q, torch.tensor([1_000_007])) * turn(k, torch.tensor([1_000_003]))).sum()
    torch.testing.assert_close(far, near)


@torch.no_grad()
def test_starts_restart_positions_too() -> None:
    layer, x = mixer(), torch.randn(2, 40, 16)
    starts = torch.zeros(2, 40, dtype=torch.bool)
    starts[1, 9], starts[1, 19] = True, True
    before = RetNetState(torch.randn(2, 2, 8, 16), torch.tensor([5, 6]))
    out, state = layer.parallel_forward(x, before, starts)
    plain, _ = layer.parallel_forward(x, before)
    torch.testing.assert_close(out[0], plain[0])
    fresh, fresh_state = layer.parallel_forward(x[1:, 19:], layer.initial_state(1))
    torch.testing.assert_close(out[1:, 19:], fresh, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.memory[1:], fresh_state.memory, atol=1e-5, rtol=1e-5)
    assert state.position.tolist() == [45, 21]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_heads": 3}, r"d_model = 16 is not a multiple of 2 \* n_heads = 6"),
        ({"n_heads": 16}, r"d_model = 16 is not a multiple of 2 \* n_heads = 32"),
        ({"n_heads": 4, "expand_v": 0.9}, r"d_model \* expand_v = 14 is not a multiple of n_heads = 4"),
        ({"n_heads": 4, "expand_v": 0.05}, r"d_model \* expand_v = 0 is not"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        RetNet.build(d_model=16, n_layers=1, config=RetNetConfig(**config))


def test_the_state_is_float32_or_better() -> None:
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert [leaf.dtype for leaf in leaves(mixer().to(dtype).initial_state(1))] == [expected, torch.int64]


def test_fused_kernels_need_a_gpu() -> None:
    layer = mixer(kernels="fused")
    with pytest.raises(PluginError, match=r"retnet: config\.kernels is 'fused', but the model is on the CPU"):
        layer.parallel_forward(torch.randn(1, 3, 16), layer.initial_state(1))
