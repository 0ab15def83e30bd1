import importlib.util
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused.flash_linear_attention import (
    VARIANTS,
    obstacle,
    shared_decays_are_wrong,
)
from lina.core.errors import PluginError
from lina.core.ops.dispatch import log_once
from lina.core.process.kernel_configurations import Known, describe, write_configurations


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (0, 0))
    for cached in (obstacle, shared_decays_are_wrong, log_once):
        cached.cache_clear()
    yield
    for cached in (obstacle, shared_decays_are_wrong, log_once):
        cached.cache_clear()


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


class Kernel:
    """As Triton wraps one: heuristics around a tuner, which tries anew where one of ``keys`` changes."""

    def __init__(self, keys: list[str], fn: Any = None) -> None:
        self.keys, self.fn = keys, fn


def with_fla(monkeypatch: pytest.MonkeyPatch, **kernels: Any) -> None:
    for name in ("fla", "fla.ops", "fla.ops.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    cumsum = ModuleType("fla.ops.utils.cumsum")
    vars(cumsum).update(kernels)
    sys.modules["fla.ops.utils"].cumsum = cumsum  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with_triton(monkeypatch)


def kernel() -> None: ...


kernel.__module__ = "fla.ops"


class Autotuner:
    arg_names = keys = ("K",)

    base_fn = staticmethod(kernel)

    def __init__(self) -> None:
        self.nargs = {"K": 64}

    def prune_configs(self, kwargs: dict[str, int]) -> list[Any]:
        return [SimpleNamespace(num_warps=warps) for warps in range(8)]


def with_triton(monkeypatch: pytest.MonkeyPatch) -> type[Autotuner]:
    own = type("Autotuner", (Autotuner,), {"prune_configs": Autotuner.prune_configs})
    for name in ("triton", "triton.runtime", "triton.runtime.autotuner"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["triton"].__version__ = "3.6.0"  # type: ignore[attr-defined]
    sys.modules["fla"].__version__ = "0.6.0"  # type: ignore[attr-defined]
    sys.modules["triton.runtime.autotuner"].Autotuner = own  # type: ignore[attr-defined]
    return own


def test_sums_are_tuned_once_for_all_numbers_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = Kernel(["B", "H", "BT"])
    other = Kernel(["H"])
    with_fla(monkeypatch, kernel=SimpleNamespace(fn=tuner), other=other, table={"B": 1})
    assert obstacle() is None
    assert tuner.keys == ["H", "BT"]
    assert other.keys == ["H"]


@pytest.mark.parametrize(("count", "tried"), [(None, 4), ("2", 2), ("all", 8)])
def test_only_few_variants_are_tried(monkeypatch: pytest.MonkeyPatch, count: str | None, tried: int) -> None:
    with_fla(monkeypatch)
    own = with_triton(monkeypatch)
    if count is not None:
        monkeypatch.setenv(VARIANTS, count)
    assert obstacle() is None
    assert len(own().prune_configs({})) == tried


def test_committed_configurations_are_of_this_kind_of_gpu_and_these_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(flash_linear_attention, "CONFIGURATIONS", tmp_path)
    with_fla(monkeypatch)
    own = with_triton(monkeypatch)
    name = "fla.ops.kernel"
    known = Known((64,), describe(SimpleNamespace(num_warps=5)))
    write_configurations(tmp_path / "sm_00.json", {"triton": "3.6.0", "fla": "0.6.0"}, {name: [known]})
    assert obstacle() is None
    assert [one.num_warps for one in own().prune_configs({})] == [5]


@pytest.mark.parametrize(
    ("version", "capability", "wrong"),
    [
        ("3.3.1", (9, 0), False),
        ("3.4.0", (9, 0), True),
        ("3.6.0", (9, 0), True),
        ("3.7.1", (9, 0), False),
        ("3.6.0", (8, 0), False),
        ("3.6.0+git1", (9, 0), True),
    ],
)
def test_hopper_wants_a_newer_triton_for_decays_of_a_head(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    version: str,
    capability: tuple[int, int],
    wrong: bool,
) -> None:
    triton = ModuleType("triton")
    triton.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton", triton)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    caplog.set_level(logging.INFO, logger="lina")
    assert [shared_decays_are_wrong() for _ in range(2)] == [wrong, wrong]
    assert len(caplog.records) == wrong
    assert all(
        f"since Triton {version} computes wrong gradients" in record.message for record in caplog.records
    )


def test_tilelang_needs_no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name == "tilelang" else None)
    assert not shared_decays_are_wrong()
