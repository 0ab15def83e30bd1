"""Stand-ins for flash-linear-attention's operators, which run on no CPU."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def stand_ins(monkeypatch: pytest.MonkeyPatch, package: str, operator: Callable[..., Any]) -> list[str]:
    """``chunk_<package>`` and ``fused_recurrent_<package>`` of ``fla.ops.<package>`` are ``operator`` for this test.

    Returns the list to which the name of each one that is called is added.
    """
    called: list[str] = []
    module = ModuleType(f"fla.ops.{package}")

    def named(name: str) -> Callable[..., Any]:
        def run(*arguments: Any, **given: Any) -> Any:
            called.append(name)
            return operator(*arguments, **given)

        return run

    for name in (f"chunk_{package}", f"fused_recurrent_{package}"):
        setattr(module, name, named(name))
    for parent in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return called
