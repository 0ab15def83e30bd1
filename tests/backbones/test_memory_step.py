"""Fused steps by their algorithm on a CPU: in place, on float32 and bfloat16 memories, they equal ``step``."""

from typing import Any

import pytest
import torch

from lina.backbones import gla
from lina.backbones.fused import memory_step
from lina.core.model import stack
from lina.core.model.in_place import CopiedStep, InPlaceStep, in_place_step
from lina.core.registry import load
from lina.core.state import State, leaves, named_leaves, tree_map

NAMES = ("gated_deltanet", "gla", "kda", "mamba", "mamba2", "retnet", "rwkv6", "rwkv7")
MODULES = (
    "delta.gated_delta",
    "gla",
    "mamba.mamba",
    "mamba.mamba2",
    "retnet",
    "rwkv.rwkv6",
    "rwkv.rwkv7",
)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has the kernel; without one, ``memory_step`` computes the same in PyTorch."""
    import importlib

    for module in MODULES:
        monkeypatch.setattr(importlib.import_module(f"lina.backbones.{module}"), "has_kernel", lambda: True)


def built(name: str, gates: str, **options: int) -> Any:
    plugin: Any = load("backbone", name)
    example = plugin.example()
    example["config"] = example["config"].model_copy(update=options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = plugin.build(**example)
        if gates == "extreme":
            plugin.extreme(backbone)
    return backbone


def noise(leaf: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(leaf.numel())
    return torch.randn(leaf.shape, generator=generator) if leaf.is_floating_point() else leaf + 3


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("gates", ["ordinary", "extreme"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in (*NAMES, "transformer")),
        ("gla", {"short_conv": 4}),
        ("retnet", {"short_conv": 4}),
    ],
)
@torch.no_grad()
def test_a_fused_step_is_the_step(
    name: str,
    options: dict[str, int],
    gates: str,
    small: bool,
    kernels: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (gla, stack):
        monkeypatch.setattr(module, "is_small", lambda *_: small)
    backbone = built(name, gates, **options)
    step = in_place_step(backbone)
    assert not any(isinstance(part, CopiedStep) for part in step.modules())
    state: State = tree_map(noise, backbone.initial_state(3))
    buffers = tree_map(torch.clone, state)
    own = [leaf.data_ptr() for leaf in leaves(buffers)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        x = torch.randn(3, 32, generator=generator)
        expected, state = backbone.step(x, state)
        torch.testing.assert_close(step(x, buffers), expected, atol=2e-5, rtol=2e-5)
        for path, leaf in named_leaves(buffers).items():
            torch.testing.assert_close(leaf, named_leaves(state)[path], atol=2e-5, rtol=2e-5, msg=path)
    assert [leaf.data_ptr() for leaf in leaves(buffers)] == own


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_memories_are_stored_in_bfloat16(name: str, kernels: None) -> None:
    backbone = built(name, "ordinary")
    step = in_place_step(backbone)
    state = tree_map(noise, backbone.initial_state(3))
    stored = step.stored(tree_map(torch.clone, state), torch.bfloat16)
    dtypes = {path: leaf.dtype for path, leaf in named_leaves(stored).items()}
    assert {path.endswith("memory") for path, dtype in dtypes.items() if dtype == torch.bfloat16} == {True}
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    expected, _ = backbone.step(x, state)
    found = step(x, stored)
    assert float((found - expected).norm() / expected.norm()) < 2e-2
    assert {path: leaf.dtype for path, leaf in named_leaves(stored).items()} == dtypes


@torch.no_grad()
def test_without_a_kernel_the_step_is_copied() -> None:
    assert not memory_step.has_kernel() or torch.cuda.is_available()
    mixer = gla.GLAMixer(32, gla.GLAConfig(n_heads=2))
    step = in_place_step(mixer)
    if not torch.cuda.is_available():
        assert isinstance(step, CopiedStep)
    assert isinstance(step, InPlaceStep)
