import pytest
import torch

from lina.backbones.gla import GLA, GLAConfig, GLAMixer, GLAState
from lina.core.errors import PluginError, SpecError


def mixer(**config: object) -> GLAMixer:
    torch.manual_seed(0)
    return GLAMixer(16, GLAConfig(n_heads=2, gate_rank=4, **config))  # type: ignore[arg-type]


def test_sizes_follow_the_configuration() -> None:
    wide = mixer(expand_k=0.5, expand_v=3.0)
    assert wide.initial_state(3).memory.shape == (3, 2, 4, 24)
    x = torch.randn(3, 5, 16)
    assert wide.parallel_forward(x, wide.initial_state(3))[0].shape == x.shape


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_heads": 3}, r"d_model \* expand_k = 16 is not a multiple of n_heads = 3"),
        ({"n_heads": 2, "expand_v": 0.1}, r"d_model \* expand_v = 1 is not"),
        ({"n_heads": 2, "expand_k": 0.01}, r"d_model \* expand_k = 0 is not"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: dict[str, float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        GLA.build(d_model=16, n_layers=1, config=GLAConfig(**config))  # type: ignore[arg-type]


@torch.no_grad()
def test_starts_restart_from_the_initial_state() -> None:
    layer, x = mixer(), torch.randn(2, 40, 16)
    starts = torch.zeros(2, 40, dtype=torch.bool)
    starts[1, 19] = True
    before = GLAState(torch.randn(2, 2, 8, 16))
    out, state = layer.parallel_forward(x, before, starts)
    plain, plain_state = layer.parallel_forward(x, before)
    torch.testing.assert_close(out[0], plain[0])
    torch.testing.assert_close(out[1, :19], plain[1, :19])
    fresh, fresh_state = layer.parallel_forward(x[1:, 19:], layer.initial_state(1))
    torch.testing.assert_close(out[1:, 19:], fresh, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.memory[1:], fresh_state.memory, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.memory[:1], plain_state.memory[:1])


def test_the_state_is_float32_or_better() -> None:
    assert mixer().to(torch.bfloat16).initial_state(1).memory.dtype == torch.float32
    assert mixer().double().initial_state(1).memory.dtype == torch.float64


def test_fused_kernels_need_a_gpu() -> None:
    layer = mixer(kernels="fused")
    with pytest.raises(PluginError, match="kernels is 'fused', but the model is on the CPU"):
        layer.parallel_forward(torch.randn(1, 3, 16), layer.initial_state(1))
