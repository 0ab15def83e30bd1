from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from lina.backbones.fused import selective_scan as fused_scan
from lina.backbones.fused import selective_scan_mamba_ssm
from lina.backbones.mamba.mamba import Mamba, MambaConfig, MambaMixer, MambaState
from lina.core.errors import PluginError
from lina.core.model.stack import MixerStack
from lina.core.state import leaves

GOLDEN = Path(__file__).parents[2] / "golden" / "mamba.safetensors"
WIDTH, STATE = 16, 8


def mixer(**config: object) -> MambaMixer:
    torch.manual_seed(0)
    return MambaMixer(WIDTH, MambaConfig(d_state=STATE, **config))  # type: ignore[arg-type]


def stack(d_model: int = WIDTH, n_layers: int = 2) -> MixerStack:
    torch.manual_seed(0)
    return Mamba.build(d_model=d_model, n_layers=n_layers, config=MambaConfig())


def test_sizes_follow_the_configuration() -> None:
    wide = MambaMixer(20, MambaConfig(expand=3, d_state=5, d_conv=2))
    state = wide.initial_state(3)
    assert (state.tail.shape, state.memory.shape) == ((3, 1, 60), (3, 60, 5))
    assert wide.dt_proj.in_features == 2
    x = torch.randn(3, 7, 20)
    assert wide.parallel_forward(x, state)[0].shape == x.shape


def test_initial_rates_are_multiples_of_the_smallest() -> None:
    assert torch.equal(mixer().A_log.exp().round(decimals=4)[3], torch.arange(1.0, STATE + 1))
    torch.testing.assert_close(mixer(a_min=0.1).A_log.exp(), 0.1 * mixer().A_log.exp())


def test_parameters_have_the_names_and_shapes_of_the_released_checkpoints() -> None:
    mixing = {
        "A_log": (64, 16),
        "D": (64,),
        "in_proj.weight": (128, 32),
        "conv1d.weight": (64, 1, 4),
        "conv1d.bias": (64,),
        "x_proj.weight": (34, 64),
        "dt_proj.weight": (64, 2),
        "dt_proj.bias": (64,),
        "out_proj.weight": (32, 64),
    }
    expected: dict[str, tuple[int, ...]] = {"norm_f.weight": (32,), "norm_f.bias": (32,)}
    for layer in range(2):
        expected |= {f"layers.{layer}.mixer.{name}": shape for name, shape in mixing.items()}
        expected |= {f"layers.{layer}.norm.{name}": (32,) for name in ("weight", "bias")}
    assert {name: tuple(value.shape) for name, value in stack(32).state_dict().items()} == expected


def test_a_fresh_mixer_has_the_papers_step_sizes_and_rates() -> None:
    fresh = mixer(expand=32)
    delta = F.softplus(fresh.dt_proj.bias.detach())
    assert 0.001 <= float(delta.min()) < 0.0015
    assert 0.07 < float(delta.max()) <= 0.1001
    assert 0.35 < float((delta < 0.01).float().mean()) < 0.65, "half of them in each decade"
    torch.testing.assert_close(fresh.A_log.exp(), torch.arange(1.0, STATE + 1).expand(fresh.d_inner, -1))
    assert bool((fresh.D == 1).all())


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    """Results of mamba-ssm's own layer: tests/golden/make_mamba.py."""
    tensors = load_file(GOLDEN)
    return {name.removeprefix("layer."): value for name, value in tensors.items() if "layer." in name}


def trained(golden: dict[str, Tensor]) -> MambaMixer:
    layer = mixer()
    parameters = {
        name.removeprefix("parameter."): value for name, value in golden.items() if "parameter." in name
    }
    layer.load_state_dict(parameters)
    return layer


def test_a_layer_agrees_with_mamba_ssm(golden: dict[str, Tensor]) -> None:
    layer, x = trained(golden), golden["x"].clone().requires_grad_()
    y, _ = layer.parallel_forward(x, layer.initial_state(len(x)))
    (y * golden["weight"]).sum().backward()
    torch.testing.assert_close(y, golden["y"], atol=1e-5, rtol=1e-5)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, golden["gradient.x"], atol=1e-5, rtol=1e-5)
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, golden[f"gradient.{name}"], atol=2e-5, rtol=2e-5)


@torch.no_grad()
def test_a_layer_steps_as_mamba_ssm_does(golden: dict[str, Tensor]) -> None:
    layer, x = trained(golden), golden["x"]
    _, state = layer.parallel_forward(x[:, :-2], layer.initial_state(len(x)))
    output = []
    for frame in x[:, -2:].unbind(1):
        y, state = layer.step(frame, state)
        output.append(y)
    torch.testing.assert_close(torch.stack(output, 1), golden["last"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.memory, golden["memory"], atol=1e-5, rtol=1e-5)
    # mamba-ssm keeps the present input as well.
    torch.testing.assert_close(state.tail, golden["conv"][..., 1:].transpose(1, 2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_starts_restart_the_convolution_and_the_memory() -> None:
    layer, x = mixer(), torch.randn(2, 40, WIDTH)
    before = MambaState(torch.randn(2, 3, 2 * WIDTH), torch.randn(2, 2 * WIDTH, STATE))
    plain, plain_state = layer.parallel_forward(x, before)
    for start in (0, 1, 19, 38, 39):
        starts = torch.zeros(2, 40, dtype=torch.bool)
        starts[1, start] = True
        out, state = layer.parallel_forward(x, before, starts)
        torch.testing.assert_close(out[0], plain[0])
        torch.testing.assert_close(out[1, :start], plain[1, :start])
        fresh, fresh_state = layer.parallel_forward(x[1:, start:], layer.initial_state(1))
        torch.testing.assert_close(out[1:, start:], fresh, atol=1e-5, rtol=1e-5)
        for found, alone, whole in zip(state, fresh_state, plain_state, strict=True):
            torch.testing.assert_close(found[1:], alone, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found[:1], whole[:1])


def test_gradient_checkpointing_changes_nothing() -> None:
    layers = stack().train()
    x, found = torch.randn(2, 9, WIDTH), []
    for layers.gradient_checkpointing in (False, True):
        layers.zero_grad()
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):  # type: ignore[func-returns-value]  # noqa: B023
            y, _ = layers.parallel_forward(x, layers.initial_state(2))
        y.square().sum().backward()
        gradients = [parameter.grad for parameter in layers.parameters()]
        found.append(([y.detach(), *(g.clone() for g in gradients if g is not None)], sum(kept)))
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[1][1] < found[0][1] / 4, "far less is kept"


def test_the_state_is_float32_or_better() -> None:
    assert {leaf.dtype for leaf in mixer().to(torch.bfloat16).initial_state(1)} == {torch.float32}
    assert {leaf.dtype for leaf in mixer().double().initial_state(1)} == {torch.float64}


def test_weights_in_bfloat16_go_both_ways() -> None:
    layers, x = stack().to(torch.bfloat16), torch.randn(1, 5, WIDTH, dtype=torch.bfloat16)
    y, state = layers.parallel_forward(x, layers.initial_state(1))
    stepped, after = layers.step(x[:, 0], state)
    assert y.dtype == stepped.dtype == torch.bfloat16
    assert {leaf.dtype for leaf in leaves(after)} == {torch.float32}


@pytest.mark.parametrize("form", ["triton", "mamba-ssm"])
def test_fused_kernels_need_a_gpu(form: str) -> None:
    layer = mixer(kernels="fused", fast_form=form)
    with pytest.raises(PluginError, match="kernels is 'fused', but the model is on the CPU"):
        layer.parallel_forward(torch.randn(1, 3, WIDTH), layer.initial_state(1))


@pytest.mark.parametrize(
    ("form", "missing", "advice"),
    [
        (fused_scan, "triton", "pip install triton"),
        (
            selective_scan_mamba_ssm,
            "mamba_ssm.ops.selective_scan_interface",
            r"pip install .* 'lina\[mamba\]'",
        ),
    ],
    ids=["triton", "mamba-ssm"],
)
def test_the_obstacle_is_named(
    monkeypatch: pytest.MonkeyPatch, form: ModuleType, missing: str, advice: str
) -> None:
    form.obstacle.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert form.obstacle() == "there is no CUDA device"
    form.obstacle.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    monkeypatch.delitem(
        __import__("sys").modules, "lina.backbones.fused.selective_scan_triton", raising=False
    )
    with pytest.raises(AssertionError, match=advice):
        raise AssertionError(form.obstacle())
    form.obstacle.cache_clear()
