import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch

from lina.backbones.flash_linear_attention import VARIANTS, obstacle
from lina.core.errors import PluginError


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    obstacle.cache_clear()
    yield
    obstacle.cache_clear()


def test_no_gpu_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert obstacle() == "there is no CUDA device"


def test_no_package_is_an_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "fla.ops", None)
    assert "pip install 'lina[fla]'" in (obstacle() or "")


@pytest.mark.parametrize("count", ["0", "-1", "few", ""])
def test_a_wrong_number_of_variants_is_one_line(monkeypatch: pytest.MonkeyPatch, count: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "fla", ModuleType("fla"))
    monkeypatch.setitem(sys.modules, "fla.ops", ModuleType("fla.ops"))
    monkeypatch.setenv(VARIANTS, count)
    with pytest.raises(PluginError, match="whole number of at least 1"):
        obstacle()


def test_only_few_variants_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    class Autotuner:
        def prune_configs(self, kwargs: dict[str, int]) -> list[str]:
            return ["first", "second", "third"]

    triton = ModuleType("triton.runtime.autotuner")
    triton.Autotuner = Autotuner  # type: ignore[attr-defined]
    for name in ("fla", "fla.ops", "triton", "triton.runtime"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "triton.runtime.autotuner", triton)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(VARIANTS, "2")
    assert obstacle() is None
    assert Autotuner().prune_configs({}) == ["first", "second"]
