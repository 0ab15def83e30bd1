"""Every installed backbone is an ordinary module: ``forward(x)`` begins from the initial state."""

from typing import Any

import pytest
import torch
from torch import nn

import lina
from lina.core.errors import LinaError, PluginError
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


def test_a_stack_of_its_own_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.runs.build_model.build_part", lambda plugin, **rest: nn.Linear(8, 8))
    with pytest.raises(PluginError, match=r"its Linear is no stack of lina\.core\.Layers"):
        lina.build_backbone("gla", d_model=8, n_layers=1)
