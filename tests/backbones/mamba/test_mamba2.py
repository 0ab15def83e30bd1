from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lina.backbones.mamba.mamba2 import Mamba2, Mamba2Config, Mamba2Mixer
from lina.core.errors import PluginError, SpecError
from lina.core.state import leaves, named_leaves

GOLDEN = Path(__file__).parents[2] / "golden" / "mamba2.safetensors"


def stack(**config: Any) -> Any:
    torch.manual_seed(0)
    settings = {"head_dim": 8, "d_state": 6, "n_groups": 2} | config
    return Mamba2.build(d_model=16, n_layers=2, config=Mamba2Config(**settings))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    """Results of transformers 5.23; see tests/golden/make_mamba2.py."""
    return load_file(GOLDEN)


def group(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in golden.items() if name.startswith(prefix)}


def test_agrees_with_transformers(golden: dict[str, Tensor]) -> None:
    model = stack()
    model.load_state_dict(group(golden, "parameter/"))
    x = golden["x"].requires_grad_()
    y, state = model.parallel_forward(x, model.initial_state(len(x)))
    torch.testing.assert_close(y, golden["y"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(named_leaves(state), group(golden, "state/"), atol=1e-5, rtol=1e-5)
    (y * golden["weights"]).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()} | {"x": x.grad}
    torch.testing.assert_close(found, group(golden, "gradient/"), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_step_agrees_with_transformers(golden: dict[str, Tensor]) -> None:
    model = stack()
    model.load_state_dict(group(golden, "parameter/"))
    state = model.initial_state(len(golden["x"]))
    for frame, expected in zip(golden["x"].unbind(1), golden["y"].unbind(1), strict=True):
        y, state = model.step(frame, state)
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(named_leaves(state), group(golden, "state/"), atol=1e-5, rtol=1e-5)


def test_sizes_follow_the_configuration() -> None:
    mixer = Mamba2Mixer(16, 1, Mamba2Config(expand=3, head_dim=12, d_state=5, d_conv=3))
    state = mixer.initial_state(2)
    assert state.memory.shape == (2, 4, 5, 12)
    assert state.tail.shape == (2, 2, 48 + 2 * 5)
    x = torch.randn(2, 7, 16)
    assert mixer.parallel_forward(x, state)[0].shape == x.shape


def test_a_narrow_network_has_one_head() -> None:
    """The position-aware attention's position network, of the same configuration."""
    config = Mamba2Config(head_dim=64, d_state=6, n_groups=4)
    model = Mamba2.build(d_model=8, n_layers=1, config=config, part="position")
    state = model.initial_state(2)
    assert [leaf.shape for leaf in leaves(state)] == [(2, 3, 16 + 2 * 6), (2, 1, 6, 16)]
    assert model.parallel_forward(torch.randn(2, 5, 8), state)[0].shape == (2, 5, 8)


def test_initial_values_are_those_of_the_papers_code() -> None:
    torch.manual_seed(0)
    mixer = Mamba2Mixer(64, 1, Mamba2Config(head_dim=1, d_state=4))
    rate, dt = mixer.A_log.exp(), torch.nn.functional.softplus(mixer.dt_bias)
    assert 1 <= rate.min() < 2 < 15 < rate.max() <= 16
    assert 0.000999 < dt.min() < 0.0015 < 0.08 < dt.max() < 0.1001
    assert (dt < 0.01).float().mean() == pytest.approx(0.5, abs=0.15), "spread evenly over its logarithms"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"head_dim": 24},
            r"d_model \* expand = 32 is not a multiple of head_dim = 24; write head_dim: 16",
        ),
        ({"head_dim": 64}, "not a multiple of head_dim = 64; write head_dim: 32"),
        ({"n_groups": 3}, r"its 4 heads .* are not a multiple of n_groups = 3; write n_groups: 2"),
        ({"n_groups": 8}, "not a multiple of n_groups = 8; write n_groups: 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        stack(**config)


def test_gradient_checkpointing_changes_nothing() -> None:
    model, x = stack().train(), torch.randn(2, 40, 16)
    found = []
    for checkpointing in (False, True):
        model.gradient_checkpointing = checkpointing
        model.zero_grad()
        y, _ = model.parallel_forward(x, model.initial_state(2))
        y.square().mean().backward()
        found.append([y.detach(), *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(found[0], found[1])


def test_the_state_is_float32_or_better() -> None:
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert {leaf.dtype for leaf in leaves(stack().to(dtype).initial_state(1))} == {expected}


def test_fused_kernels_need_a_gpu() -> None:
    model = stack(kernels="fused")
    with pytest.raises(PluginError, match=r"mamba2: config\.kernels is 'fused', but the model is on the CPU"):
        model.parallel_forward(torch.randn(1, 3, 16), model.initial_state(1))
