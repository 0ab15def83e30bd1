"""Laws, the conditions of their checks, and their results."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


class NotApplicable(Exception):
    """Raised by a law's test where the plugin lacks the optional capability that the law is about."""


Outcome = Literal["passed", "failed", "not applicable"]


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

    def check(self, plugin: type[Plugin], conditions: Conditions) -> str:
        """Check the law on ``plugin.build(**plugin.example())``; returns why it does not apply, or nothing.

        Raises:
            LawFailed: the plugin fails the law, or the law cannot be run; no law is skipped.
        """
        try:
            self.test(plugin, conditions)
        except NotApplicable as reason:
            return str(reason)
        except Violation as violation:
            raise LawFailed(self.name, str(violation)) from None
        except Exception as error:
            raise LawFailed(self.name, f"could not be run: {in_brief(error)}") from error
        return ""


def in_brief(error: Exception) -> str:
    """Type, first line and place of an exception of a plugin: the last line of code outside of torch and the laws."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    laws = str(Path(__file__).parent)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((laws, str(Path(torch.__file__).parent), "<"))
    ]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {reason}{place}"


@dataclass(frozen=True)
class LawResult:
    """Result of one case. ``detail`` is empty if it passed, and the reason where the law does not apply."""

    case: str
    law: Law
    outcome: Outcome
    detail: str
    seconds: float

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"


@dataclass(frozen=True)
class LawCase:
    """One law on one plugin under one set of conditions; ``str`` gives the test id."""

    plugin: type[Plugin]
    law: Law
    conditions: Conditions

    def check(self) -> None:
        """Raise ``LawFailed`` if the law fails; a law that does not apply passes."""
        self.law.check(self.plugin, self.conditions)

    def run(self) -> LawResult:
        start = time.perf_counter()
        outcome: Outcome
        try:
            detail = self.law.check(self.plugin, self.conditions)
            outcome = "not applicable" if detail else "passed"
        except LawFailed as failure:
            outcome, detail = "failed", failure.detail
        return LawResult(str(self), self.law, outcome, detail, time.perf_counter() - start)

    def __str__(self) -> str:
        dtype = str(self.conditions.dtype).removeprefix("torch.")
        parts = [self.law.name, dtype] if self.law.dtypes else [self.law.name]
        if self.conditions.gates != "ordinary":
            parts.append(self.conditions.gates)
        if self.conditions.device != "cpu":
            parts.append(self.conditions.device)
        return "-".join(parts)
