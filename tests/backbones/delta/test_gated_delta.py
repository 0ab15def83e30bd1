"""Gated DeltaNet and Kimi Delta Attention: what the laws do not ask."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lina.backbones.delta.gated_deltanet import GatedDeltaNet, GatedDeltaNetConfig, GatedDeltaNetMixer
from lina.backbones.delta.kda import KDA, KDAConfig, KDAMixer
from lina.backbones.fused import delta_rule as fused_delta_rule
from lina.core.errors import PluginError, SpecError
from lina.core.ops.delta_rule import gated_delta_rule
from tests.backbones.fake_kernels import shared_decays, stand_ins
from tests.core.ops.recurrence import assert_near, with_gradients

PLUGINS = {
    "gated_deltanet": (GatedDeltaNet, GatedDeltaNetConfig, GatedDeltaNetMixer),
    "kda": (KDA, KDAConfig, KDAMixer),
}
EACH = pytest.mark.parametrize("name", PLUGINS)


def mixer(name: str, **config: object) -> Any:
    torch.manual_seed(0)
    _, configuration, layer = PLUGINS[name]
    return layer(16, configuration(n_heads=2, **config))


@EACH
def test_sizes_follow_the_configuration(name: str) -> None:
    wide = mixer(name, expand_k=0.5, expand_v=3.0, convolution=3)
    state = wide.initial_state(3)
    assert state.memory.shape == (3, 2, 4, 24)
    assert state.tail.shape == (3, 2, 8 + 8 + 48)
    x = torch.randn(3, 5, 16)
    assert wide.parallel_forward(x, state)[0].shape == x.shape


@EACH
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_heads": 3, "expand_k": 1.0}, "key width 16 .* is not a multiple of n_heads = 3"),
        ({"n_heads": 2, "expand_v": 0.1}, "value width 1 "),
        ({"n_heads": 2, "expand_k": 0.01}, "key width 0 "),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name: str, config: dict[str, float], message: str) -> None:
    plugin, configuration, _ = PLUGINS[name]
    with pytest.raises(SpecError, match=f"{name}: {message}"):
        plugin.build(d_model=16, n_layers=1, config=configuration(**config))


@pytest.mark.parametrize(("a_min", "a_max", "longest"), [(1.0, 16.0, 1_000), (0.01, 0.3, 100_000)])
@torch.no_grad()
def test_memories_begin_as_long_as_they_are_asked_to(a_min: float, a_max: float, longest: float) -> None:
    """A times a step of .001 to .1, so within the bounds that both set."""
    torch.manual_seed(0)
    layer = GatedDeltaNetMixer(256, GatedDeltaNetConfig(n_heads=128, a_min=a_min, a_max=a_max))
    frames = -1 / layer.log_decay(torch.zeros(1, 256), torch.float32).flatten()
    assert 10 / a_max <= frames.min() < frames.max() <= longest
    assert frames.max() > longest / 20
    with pytest.raises(ValueError, match=r"a_min = 1 is not below a_max = 0\.5"):
        GatedDeltaNetConfig(a_max=0.5)


@EACH
@torch.no_grad()
def test_a_memory_is_corrected(name: str) -> None:
    """Told twice, with all of the correction and nothing forgotten, a key keeps its value: nothing is summed up."""
    layer = mixer(name)
    x = torch.randn(1, 1, 16)
    layer.b_proj.weight.copy_(100 * x[0].expand(2, 16))
    layer.A_log.fill_(-30.0)
    state = layer.initial_state(1)
    for _ in range(4):  # until the convolutions have seen nothing but x
        _, state = layer.step(x[:, 0], state)
    _, later = layer.step(x[:, 0], state)
    torch.testing.assert_close(later.memory, state.memory, atol=1e-5, rtol=1e-4)
    assert state.memory.abs().max() > 1e-3


@EACH
def test_the_state_is_float32_or_better(name: str) -> None:
    assert {leaf.dtype for leaf in mixer(name).to(torch.bfloat16).initial_state(1)} == {torch.float32}
    assert {leaf.dtype for leaf in mixer(name).double().initial_state(1)} == {torch.float64}


@EACH
def test_fused_kernels_need_a_gpu(name: str) -> None:
    layer = mixer(name, kernels="fused")
    with pytest.raises(PluginError, match=f"{name}: config.kernels is 'fused', but the model is on the CPU"):
        layer.parallel_forward(torch.randn(1, 3, 16), layer.initial_state(1))


RULES = pytest.mark.parametrize(
    ("channels", "rule"),
    [(1, "gated_delta_rule"), (4, "kda"), (1, "kda")],
    ids=["of a head", "of channels", "of a head, whose own kernels are wrong here"],
)


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch, rule: str) -> list[str]:
    """Names of the called operators of flash-linear-attention, which stand-ins replace."""
    shared_decays(monkeypatch, are_wrong=rule == "kda")

    def run(*, g: Tensor, output_final_state: bool, **inputs: Any) -> tuple[Tensor, Tensor]:
        assert output_final_state
        assert g.shape == inputs["q"].shape if rule == "kda" else g.dim() == 3
        assert g.min() >= fused_delta_rule.FORGOTTEN
        order = ("q", "k", "v", "beta", "g", "initial_state", "scale")
        inputs["g"] = g if g.dim() == 4 else g[..., None]
        return gated_delta_rule(*(inputs[argument] for argument in order))

    unasked = {"gated_delta_rule": "kda", "kda": "gated_delta_rule"}[rule]
    stand_ins(monkeypatch, unasked, pytest.fail)
    return stand_ins(monkeypatch, rule, run)


@RULES
@pytest.mark.parametrize(
    ("frames", "wants_gradient", "grad_enabled", "form"),
    [
        (3, False, True, "fused_recurrent"),
        (3, True, False, "fused_recurrent"),
        (3, True, True, "chunk"),
        (65, False, True, "chunk"),
    ],
)
def test_no_gradient_goes_through_the_recurrent_kernels(
    kernel_calls: list[str],
    channels: int,
    rule: str,
    frames: int,
    wants_gradient: bool,
    grad_enabled: bool,
    form: str,
) -> None:
    """They have no backward pass."""
    q, k, v = (torch.randn(1, frames, 2, 4) for _ in range(3))
    beta, decay = torch.rand(1, frames, 2), -torch.rand(1, frames, 2, channels)
    memory = torch.randn(1, 2, 4, 4, requires_grad=wants_gradient)
    with torch.set_grad_enabled(grad_enabled):
        got = fused_delta_rule.gated_delta_rule(q, k, v, beta, decay, memory, 0.7)
        expected = gated_delta_rule(q, k, v, beta, decay, memory, 0.7)
    assert kernel_calls == [f"{form}_{rule}"]
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)


@RULES
@pytest.mark.parametrize("frames", [3, 65])
def test_decays_beyond_the_kernels_digits_are_cut_and_change_nothing(
    kernel_calls: list[str], channels: int, rule: str, frames: int
) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.nn.functional.normalize(torch.randn(1, frames, 2, n), dim=-1) for n in (4, 4, 6))
    log_decay = -(10 ** (8 * torch.rand(1, frames, 2, channels) - 4))
    inputs = (q, k, v, torch.rand(1, frames, 2), log_decay, torch.randn(1, 2, 4, 6))
    expected = with_gradients(gated_delta_rule, inputs, 0.7)
    assert_near(with_gradients(fused_delta_rule.gated_delta_rule, inputs, 0.7), expected, 1e-5)
    assert len(kernel_calls) == 1
