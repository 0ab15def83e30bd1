"""Laws of hook plugins with their mutants."""

from typing import Any

import pytest

from lina.core.laws import LawFailed
from lina.core.plugin import PluginConfig
from lina.core.registry import load_record, records
from lina.runs.hook_laws import hook_law_cases
from lina.runs.hooks import hookimpl
from tests.core.laws.broken_laws import broken_laws


class Right:
    class Config(PluginConfig):
        project: str
        every: int = 1

    def __init__(self, config: Any) -> None: ...

    @hookimpl
    def step_metrics(self, step: int, model: Any, factor: float = 1.0) -> dict[str, float]:
        return {}

    @hookimpl(specname="run_finished")
    def at_the_end(self, run: Any) -> None: ...

    @staticmethod
    @hookimpl
    def run_started(run: Any) -> None: ...

    def helper(self, anything: Any) -> None: ...


class BadDefault(Right):
    class Config(PluginConfig):
        every: int = "often"  # type: ignore[assignment]


class NeedsMore:
    def __init__(self, folder: str) -> None: ...

    @hookimpl
    def run_finished(self, run: Any) -> None: ...


class TakesNoConfig(Right):
    def __init__(self) -> None: ...


class NoHooks:
    def prepare(self) -> None: ...


class Unmarked(Right):
    def step_done(self, step: int) -> None: ...


class Misspelled(Right):
    @hookimpl
    def step_don(self, step: int) -> None: ...


class OtherName(Right):
    @hookimpl(specname="run_ended")
    def at_last(self, run: Any) -> None: ...


class OtherArgument(Right):
    @hookimpl
    def step_done(self, steps: int) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (BadDefault, "config_defaults_are_valid"),
        (NeedsMore, "can_be_instantiated"),
        (TakesNoConfig, "can_be_instantiated"),
        (NoHooks, "implements_a_hook"),
        (Unmarked, "hooks_are_marked"),
        (Misspelled, "hooks_exist"),
        (OtherName, "hooks_exist"),
        (OtherArgument, "hook_arguments_exist"),
    ],
)
def test_each_law_has_a_mutant_that_only_it_finds(plugin: type, law: str) -> None:
    assert broken_laws(hook_law_cases(plugin)) == [law]


def test_a_right_hook_passes() -> None:
    assert broken_laws(hook_law_cases(Right)) == []


def test_the_message_names_the_nearest() -> None:
    case = next(one for one in hook_law_cases(OtherArgument) if one.law.name == "hook_arguments_exist")
    with pytest.raises(LawFailed, match="step_done has no argument 'steps'; did you mean 'step'"):
        case.check()


@pytest.mark.parametrize("record", records("hook"), ids=str)
def test_installed_hooks_pass(record: Any) -> None:
    assert broken_laws(hook_law_cases(load_record(record))) == []
