"""The norm at the end of a stack, the same for all backbones where it is named."""

from typing import Any

import pytest
import torch
from torch import nn

from lina.core.errors import SpecError
from lina.core.model.final_norm import set_final_norm
from lina.core.model.in_place import in_place_step
from lina.core.model.pattern import build_part, build_pattern
from lina.core.model.stack import Layers
from lina.core.registry import load, records
from lina.core.state import tree_map

OWN = [record.name for record in records("backbone") if record.distribution == "lina"]
KINDS: dict[str, Any] = {"layer": nn.LayerNorm, "rms": nn.RMSNorm, "none": type(None)}


@pytest.mark.parametrize("name", OWN)
def test_every_backbone_ends_in_the_same_norm(name: str) -> None:
    plugin = load("backbone", name)
    for kind, expected in KINDS.items():
        torch.manual_seed(0)
        stack: Any = build_part(plugin, part="encoder", final_norm=kind, **plugin.example())  # type: ignore[arg-type]
        assert type(stack.norm_f) is expected
        x, state = torch.randn(2, 3, plugin.example()["d_model"]), stack.initial_state(2)
        y = stack(x)
        ends_in_norm = y.square().mean(-1).allclose(torch.ones(2, 3), atol=1e-2)
        assert ends_in_norm == (kind != "none")
        stepped, _ = stack.step(x[:, 0], state)
        torch.testing.assert_close(stepped, y[:, 0], atol=1e-5, rtol=1e-4)
        buffers = tree_map(lambda leaf: leaf.clone(), state)
        with torch.no_grad():
            torch.testing.assert_close(in_place_step(stack)(x[:, 0], buffers), stepped)


@pytest.mark.parametrize("name", OWN)
def test_a_stack_by_itself_has_the_weights_of_earlier_versions(name: str) -> None:
    """Only the Mamba family ends in a norm, so that checkpoints stay loadable and equal."""
    plugin = load("backbone", name)
    names = build_part(plugin, part="encoder", **plugin.example()).state_dict()  # type: ignore[attr-defined]
    assert any(key.startswith("norm_f") for key in names) == (name in ("mamba", "mamba2"))


def test_a_pattern_has_one_norm_at_its_end() -> None:
    choices = [
        (load("backbone", name), load("backbone", name).example()["config"]) for name in ("mamba", "gla")
    ]
    for kind, norms in (("own", 1), ("rms", 1), ("none", 0)):
        layers = build_pattern(choices, part="encoder", d_model=32, n_layers=2, final_norm=kind)  # type: ignore[arg-type]
        found = [name for name in layers.state_dict() if name.endswith("norm_f.weight")]
        assert len(found) == norms
        assert found in ([], ["norm_f.weight"]) or kind == "own"


def test_a_stack_of_another_kind_is_refused() -> None:
    backbone: Any = nn.Identity()
    set_final_norm(backbone, "own", 8)
    with pytest.raises(
        SpecError, match=r"final_norm is 'rms', but Identity is no stack of lina\.core\.Layers"
    ):
        set_final_norm(backbone, "rms", 8)
    stack = Layers([])
    set_final_norm(stack, "rms", 8)
    assert isinstance(stack.norm_f, nn.RMSNorm)
