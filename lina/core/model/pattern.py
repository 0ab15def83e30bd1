"""Stacks of several backbones in one: layers of different plugins by a repeated pattern."""

import inspect
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

from lina.core.model.final_norm import FinalNorm, set_final_norm
from lina.core.model.stack import Block, Layers, MixerPlugin
from lina.core.plugin import BackbonePlugin
from lina.core.protocols import Backbone

ModelPart = Literal["encoder", "decoder", "position"]
"""ModelPart of the model: before the text, after it, or the position network of the cross-attention."""
Choice = tuple[type[BackbonePlugin], Any]
"""A plugin with its configuration."""


def build_part(
    plugin: type[BackbonePlugin],
    *,
    part: ModelPart,
    d_model: int,
    n_layers: int,
    config: Any,
    final_norm: FinalNorm = "own",
) -> Backbone:
    """Build a whole stack of one plugin, which learns the part that it is built for if its ``build`` takes ``part``."""
    takes_part = "part" in inspect.signature(plugin.build).parameters
    more: dict[str, Any] = {"part": part} if takes_part else {}
    backbone = plugin.build(d_model=d_model, n_layers=n_layers, config=config, **more)
    set_final_norm(backbone, final_norm, d_model)
    return backbone


def build_pattern(
    pattern: Sequence[Choice], *, part: ModelPart, d_model: int, n_layers: int, final_norm: FinalNorm = "own"
) -> Layers:
    """Build ``n_layers`` layers that repeat ``pattern``, one after the other.

    A mixer is built for its place among all layers, in a block of its own; neighboring layers of another plugin are one
    stack, with the norm that it may have at its end, unless ``final_norm`` names the one norm at the end of all.
    """
    inner: FinalNorm = "own" if final_norm == "own" else "none"
    places = [(place, place % len(pattern)) for place in range(n_layers)]
    built: list[Backbone] = []
    for index, group in groupby(places, key=lambda one: _kind(pattern, one[1])):
        plugin, config = pattern[index]
        numbers = [place for place, _ in group]
        if issubclass(plugin, MixerPlugin):
            for place in numbers:
                mixer = plugin.mixer(d_model=d_model, layer=place, n_layers=n_layers, config=config)
                built.append(Block(mixer, d_model))
        else:
            sizes = {"d_model": d_model, "n_layers": len(numbers)}
            built.append(build_part(plugin, part=part, config=config, final_norm=inner, **sizes))
    layers = Layers(built)
    set_final_norm(layers, final_norm, d_model)
    return layers


def _kind(pattern: Sequence[Choice], place: int) -> int:
    """The first place of the pattern with the same plugin and configuration."""
    return next(index for index, one in enumerate(pattern) if one == pattern[place])
