"""Stand-ins for flash-linear-attention's operators, which run on no CPU."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from lina.backbones.fused import flash_linear_attention


def stand_ins(
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    operator: Callable[..., Any],
    called: list[str] | None = None,
) -> list[str]:
    """``chunk_<package>`` and ``fused_recurrent_<package>`` of ``fla.ops.<package>`` are ``operator`` for this test.

    Returns the list (``called``, or a new one) to which the name of each one that is called is added.
    """
    called = [] if called is None else called
    module = ModuleType(f"fla.ops.{package}")

    def named(name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **inputs: Any) -> Any:
            called.append(name)
            return operator(*arguments, **inputs)

        return run

    for name in (f"chunk_{package}", f"fused_recurrent_{package}"):
        setattr(module, name, named(name))
    for parent in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return called


def shared_decays(monkeypatch: pytest.MonkeyPatch, *, are_wrong: bool) -> None:
    """This machine's Triton is (not) one that computes wrong gradients of decays that a head shares."""
    monkeypatch.setattr(flash_linear_attention, "shared_decays_are_wrong", lambda: are_wrong)
