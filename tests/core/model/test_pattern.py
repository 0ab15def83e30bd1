"""Stacks of several backbones are backbones: they keep the law, and know their parts and places."""

from typing import Any

import torch

from lina.backbones.gla import GLA
from lina.backbones.mamba.mamba import Mamba
from lina.backbones.transformer import Transformer
from lina.core.model.pattern import build_part, build_pattern
from lina.core.model.stack import Block, MixerPlugin, MixerStack
from lina.core.plugin import BackbonePlugin
from lina.core.protocols import Backbone
from lina.core.state import tree_map

CHOICES: dict[str, tuple[type[BackbonePlugin], Any]] = {
    "gla": (GLA, GLA.Config(n_heads=2)),
    "transformer": (Transformer, Transformer.example()["config"]),
    "mamba": (Mamba, Mamba.Config()),
}


def test_step_equals_parallel_in_a_stack_of_three_kinds() -> None:
    torch.manual_seed(0)
    pattern = [CHOICES[name] for name in ("gla", "mamba", "transformer")]
    stack = build_pattern(pattern, part="encoder", d_model=16, n_layers=4).double()
    assert [type(layer) for layer in stack.layers] == [Block, MixerStack, type(stack.layers[2]), Block]
    x = torch.randn(2, 9, 16, dtype=torch.float64)
    start = tree_map(lambda one: one.double() if one.is_floating_point() else one, stack.initial_state(2))
    whole, final = stack.parallel_forward(x, start)
    state, frames = start, []
    for t in range(9):
        frame, state = stack.step(x[:, t], state)
        frames.append(frame)
    torch.testing.assert_close(torch.stack(frames, 1), whole)
    torch.testing.assert_close(state, final)


def test_neighbors_of_one_kind_are_one_stack_and_mixers_know_their_place() -> None:
    places = []

    class Noting(MixerPlugin):
        @classmethod
        def example(cls) -> dict[str, Any]:
            return {}

        @classmethod
        def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
            places.append((layer, n_layers))
            return GLA.mixer(d_model=d_model, layer=layer, n_layers=n_layers, config=GLA.Config(n_heads=2))

    pattern: list[tuple[type[BackbonePlugin], Any]] = [(Noting, None), CHOICES["mamba"], CHOICES["mamba"]]
    stack = build_pattern(pattern, part="decoder", d_model=16, n_layers=6)
    assert places == [(0, 6), (3, 6)]
    assert [len(layer.layers) for layer in stack.layers if isinstance(layer, MixerStack)] == [2, 2]


def test_a_build_that_takes_the_part_is_told() -> None:
    parts = []

    class Asking(BackbonePlugin):
        @classmethod
        def example(cls) -> dict[str, Any]:
            return {}

        @classmethod
        def build(cls, *, d_model: int, n_layers: int, config: Any, part: str = "encoder") -> Backbone:
            parts.append(part)
            return GLA.build(d_model=d_model, n_layers=n_layers, config=GLA.Config(n_heads=2))

    build_part(Asking, part="position", d_model=16, n_layers=1, config=None)
    build_pattern([(Asking, None)], part="decoder", d_model=16, n_layers=2)
    assert parts == ["position", "decoder"]
