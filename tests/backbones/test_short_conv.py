"""Short convolutions of queries, keys and values, an option of gla and retnet."""

from typing import Any

import pytest
import torch

from lina.backbones.gla import GLA, GLAConfig
from lina.backbones.retnet import RetNet, RetNetConfig
from lina.core.laws import law_cases
from lina.core.laws.law import LawCase


class ConvolvedGLA(GLA):
    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": GLAConfig(n_heads=2, short_conv=4)}


class ConvolvedRetNet(RetNet):
    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": RetNetConfig(n_heads=2, short_conv=4)}


@pytest.mark.parametrize(
    "case",
    [
        case
        for plugin in (ConvolvedGLA, ConvolvedRetNet)
        for case in law_cases(plugin, dtypes=(torch.float64,))
    ],
    ids=str,
)
def test_laws(case: LawCase) -> None:
    case.check()


@pytest.mark.parametrize("plugin", [GLA, RetNet])
def test_one_tap_is_no_convolution(plugin: Any) -> None:
    """The default has the state and the weights of earlier versions."""
    for taps in (0, 1):
        backbone = plugin.build(d_model=8, n_layers=1, config=plugin.Config(n_heads=2, short_conv=taps))
        assert "tail" not in backbone.initial_state(1)[0]._fields
        assert not any("short_conv" in name for name, _ in backbone.named_parameters())
