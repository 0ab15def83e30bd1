"""Options of backbones: transitions with negative eigenvalues, initial values, sizes that do not fit."""

from typing import Any

import pytest
import torch

from lina.backbones.delta.gated_deltanet import GatedDeltaNet, GatedDeltaNetConfig
from lina.backbones.delta.kda import KDA, KDAConfig
from lina.backbones.rwkv.rwkv6 import RWKV6, RWKV6Config
from lina.backbones.rwkv.rwkv7 import RWKV7
from lina.backbones.rwkv.rwkv7_mixing import MAX_REMOVAL, RWKV7Config
from lina.core.laws import law_cases
from lina.core.laws.law import LawCase


class ReflectingDeltaNet(GatedDeltaNet):
    @classmethod
    def example(cls) -> dict[str, Any]:
        config = GatedDeltaNetConfig(n_heads=4, allow_neg_eigval=True)
        return {"d_model": 32, "n_layers": 1, "config": config}


class ReflectingKDA(KDA):
    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 1, "config": KDAConfig(n_heads=2, allow_neg_eigval=True)}


class ReflectingRWKV7(RWKV7):
    @classmethod
    def example(cls) -> dict[str, Any]:
        ranks: dict[str, Any] = {"decay_rank": 4, "rate_rank": 4, "value_rank": 4, "gate_rank": 8}
        config = RWKV7Config(n_heads=2, removal_scale=MAX_REMOVAL, **ranks)
        return {"d_model": 32, "n_layers": 2, "config": config}


@pytest.mark.parametrize(
    "case",
    [
        case
        for plugin in (ReflectingDeltaNet, ReflectingKDA, ReflectingRWKV7)
        for case in law_cases(plugin, dtypes=(torch.float64,))
    ],
    ids=str,
)
def test_laws(case: LawCase) -> None:
    case.check()


@pytest.mark.parametrize("plugin", [GatedDeltaNet, KDA])
def test_beta_is_twice_as_large(plugin: Any) -> None:
    """One frame writes twice as much; without the option nothing has changed."""
    torch.manual_seed(0)
    plain = plugin.build(d_model=8, n_layers=1, config=plugin.Config(n_heads=2))
    double = plugin.build(d_model=8, n_layers=1, config=plugin.Config(n_heads=2, allow_neg_eigval=True))
    double.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8)
    memories = [model.step(x, model.initial_state(1))[1][0].memory for model in (plain, double)]
    torch.testing.assert_close(memories[1], 2 * memories[0])


def test_only_the_removal_of_rwkv7_is_scaled() -> None:
    """From an empty memory the option changes nothing; then it removes in proportion."""
    torch.manual_seed(0)
    sizes = {"d_model": 8, "n_layers": 1}
    models: list[Any] = [
        RWKV7.build(config=RWKV7Config(n_heads=1, removal_scale=scale), **sizes) for scale in (1, 1.5)
    ]
    RWKV7.extreme(models[0])
    models[1].load_state_dict(models[0].state_dict())
    x, state = torch.randn(1, 8), models[0].initial_state(1)
    empty = [model.step(x, state)[1][0].memory for model in models]
    assert empty[0].equal(empty[1])
    full = (state[0]._replace(memory=torch.randn_like(empty[0])),)
    after = [model.step(x, full)[1][0].memory for model in models]
    kept = after[0] - empty[0]  # what is left of the memory: decayed, less what was removed
    memory, frame = full[0].memory, models[0].layers[0]
    projected = frame.tmix._project(frame.norm1(x), full[0].time_shift, None, torch.float32)
    decayed = memory * projected.log_decay.exp()[..., None]
    torch.testing.assert_close(after[1] - empty[0] - decayed, 1.5 * (kept - decayed))


def test_no_eigenvalue_of_rwkv7_falls_below_minus_one() -> None:
    """At the bound, with the strongest decay and all of a key removed."""
    key = torch.nn.functional.normalize(torch.randn(8, dtype=torch.float64), dim=0)
    weakest = MAX_REMOVAL - 1
    transition = torch.diag(torch.full((8,), weakest)) - MAX_REMOVAL * torch.outer(key, key)
    assert torch.linalg.eigvalsh(transition).min().item() == pytest.approx(-1)


@pytest.mark.parametrize(("plugin", "config"), [(RWKV6, RWKV6Config), (RWKV7, RWKV7Config)])
def test_group_norms_may_begin_by_depth(plugin: Any, config: Any) -> None:
    sizes = {"d_model": 8, "n_layers": 4}
    default = plugin.build(config=config(n_heads=2), **sizes)
    assert all((layer.tmix.ln_x.weight == 1).all() for layer in default.layers)
    scaled = plugin.build(config=config(n_heads=2, norm_init="depth"), **sizes)
    found = [layer.tmix.ln_x.weight.unique().item() for layer in scaled.layers]
    assert found == pytest.approx([0.25**0.7, 0.5**0.7, 0.75**0.7, 1.0])


def test_decay_rates_may_begin_at_zero() -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 512, "n_layers": 1}
    plugin: Any = GatedDeltaNet
    configs = (GatedDeltaNetConfig(n_heads=512), GatedDeltaNetConfig(n_heads=512, a_min=0.0))
    rates = [plugin.build(config=config, **sizes).layers[0].tmix.A_log.exp() for config in configs]
    assert rates[0].min() >= 1
    assert rates[1].min() < 0.5
    assert max(rate.max() for rate in rates) <= 16
