"""Every installed backbone is an ordinary module: ``forward(x)`` begins from the initial state."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lina
from lina.core.errors import LinaError, PluginError, SpecError
from lina.core.registry import load, records

OWN = [record.name for record in records("backbone") if record.distribution == "lina"]


@pytest.mark.parametrize("name", OWN)
def test_forward_is_the_parallel_form_from_the_initial_state(name: str) -> None:
    plugin = load("backbone", name)
    torch.manual_seed(0)
    backbone = plugin.build(**plugin.example())
    assert isinstance(backbone, nn.Module)
    x = torch.randn(2, 5, plugin.example()["d_model"], requires_grad=True)
    y = backbone(x)
    assert y.equal(backbone.parallel_forward(x, backbone.initial_state(2))[0])
    y.sum().backward()
    assert x.grad is not None


def test_a_backbone_is_built_by_name() -> None:
    torch.manual_seed(0)
    module = lina.build_backbone("gla", d_model=8, n_layers=3, final_norm="rms", n_heads=2)
    assert len(module.layers) == 3
    assert isinstance(module.norm_f, nn.RMSNorm)
    assert module(torch.randn(2, 5, 8)).shape == (2, 5, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("glaa", {}, "did you mean '?gla"),
        ("gla", {"n_head": 2}, "did you mean 'n_heads'"),
        ("gla", {"n_heads": 3}, "not a multiple of n_heads = 3"),
        ("mamba2", {"head_dim": 64}, "write head_dim: 16"),
    ],
)
def test_a_mistake_is_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LinaError, match=message) as error:
        lina.build_backbone(name, d_model=8, n_layers=1, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"final_norm": "x"}, "final_norm: expected 'own', 'layer', 'rms' or 'none', found \"x\""),
        ({"final_norm": "lyer"}, "found \"lyer\"; did you mean 'layer'?"),
        ({"n_layers": -1}, "n_layers: expected a number greater than or equal to 1, found -1"),
        ({"n_layers": True}, "n_layers: expected a whole number, found true"),
        ({"d_model": 64.0}, "d_model: expected a whole number, found 64.0"),
        ({"d_model": 0}, "d_model: expected a number greater than or equal to 1, found 0"),
        ({"name": ["gla"]}, 'name: expected a text, found ["gla"]'),
        ({"n_head": 2}, "n_head: unknown key; did you mean 'n_heads'?"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: dict[str, Any], mistake: str) -> None:
    passed: dict[str, Any] = {"name": "gla", "d_model": 8, "n_layers": 1, **arguments}
    with pytest.raises(SpecError) as refused:
        lina.build_backbone(**passed)
    line = str(refused.value)
    assert line.startswith("lina.build_backbone: ")
    assert mistake in line
    assert "\n" not in line


def test_sizes_may_be_whole_numbers_of_numpy() -> None:
    module = lina.build_backbone("gla", d_model=np.int64(8), n_layers=np.int32(1))  # type: ignore[arg-type]
    assert len(module.layers) == 1


def test_a_stack_of_its_own_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.runs.build_model.build_part", lambda plugin, **rest: nn.Linear(8, 8))
    with pytest.raises(PluginError, match=r"its Linear is no stack of lina\.core\.Layers"):
        lina.build_backbone("gla", d_model=8, n_layers=1)
