"""Laws, the conditions of their checks, and their results."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from lina.core.errors import PluginError
from lina.core.plugin import Plugin

Gates = Literal["ordinary", "extreme"]


class LawFailed(PluginError):
    """A plugin fails a law. The message has the law's name, the expected and the found value, and the place."""

    def __init__(self, law: str, detail: str) -> None:
        super().__init__(f"{law}: {detail}")
        self.law = law
        self.detail = detail


class Violation(Exception):
    """Failure inside a law's test, which does not have the law's name."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of a check. Gates are ``extreme`` after ``BackbonePlugin.extreme``."""

    dtype: torch.dtype = torch.float32
    gates: Gates = "ordinary"
    device: str = "cpu"


@dataclass(frozen=True)
class Law:
    """A contract of a role. ``test`` raises ``Violation`` for a plugin that fails it."""

    name: str
    statement: str
    test: Callable[[type[Plugin], Conditions], None]
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    gates: tuple[Gates, ...] = ("ordinary",)

    def check(self, plugin: type[Plugin], conditions: Conditions) -> None:
        """Check the law on ``plugin.build(**plugin.example())``.

        Raises:
            LawFailed: the plugin fails the law, or the law cannot be run; no law is skipped.
        """
        try:
            self.test(plugin, conditions)
        except Violation as violation:
            raise LawFailed(self.name, str(violation)) from None
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
            raise LawFailed(self.name, f"could not be run: {type(error).__name__}: {reason}") from error


@dataclass(frozen=True)
class LawResult:
    """Result of one case. ``detail`` is empty if it passed."""

    case: str
    law: Law
    passed: bool
    detail: str
    seconds: float


@dataclass(frozen=True)
class LawCase:
    """One law on one plugin under one set of conditions; ``str`` gives the test id."""

    plugin: type[Plugin]
    law: Law
    conditions: Conditions

    def check(self) -> None:
        """Raise ``LawFailed`` unless the law passes."""
        self.law.check(self.plugin, self.conditions)

    def run(self) -> LawResult:
        start = time.perf_counter()
        try:
            self.check()
        except LawFailed as failure:
            return LawResult(str(self), self.law, False, failure.detail, time.perf_counter() - start)
        return LawResult(str(self), self.law, True, "", time.perf_counter() - start)

    def __str__(self) -> str:
        dtype = str(self.conditions.dtype).removeprefix("torch.")
        parts = [self.law.name, dtype] if self.law.dtypes else [self.law.name]
        if self.conditions.gates != "ordinary":
            parts.append(self.conditions.gates)
        if self.conditions.device != "cpu":
            parts.append(self.conditions.device)
        return "-".join(parts)
