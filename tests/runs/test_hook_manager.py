import logging
from pathlib import Path
from typing import Any

import pluggy
import pytest

from lina.core.errors import PluginError
from lina.runs.hook_manager import add_plugin, build_manager
from lina.runs.hooks import Hooks, hookimpl
from tests.fakes import FakeDistributions

HOOKS = """
    from lina.runs.hooks import hookimpl
    class Good:
        @hookimpl
        def cli_commands(self): return ["good"]
    class Fails:
        @hookimpl
        def cli_commands(self): raise RuntimeError("no luck")
    class CannotBeMade:
        def __init__(self): raise OSError("no display")
        @hookimpl
        def cli_commands(self): return ["never"]
    class UnknownHook:
        @hookimpl
        def cli_comands(self): return []
    class UnknownArgument:
        @hookimpl
        def step_done(self, stepp): pass
    class NoHooks: pass
    not_a_class = 3
"""


def manager() -> pluggy.PluginManager:
    hook_manager = pluggy.PluginManager("lina")
    hook_manager.add_hookspecs(Hooks)
    return hook_manager


@pytest.fixture
def only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_PLUGINS", "pack, bad")


@pytest.mark.usefixtures("only_these")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("CannotBeMade", "OSError: no display"),
        ("UnknownHook", "'cli_comands'"),
        ("UnknownArgument", "stepp"),
        ("NoHooks", "implements no hook"),
        ("not_a_class", "a hook plugin is a class"),
        ("Missing", "AttributeError"),
    ],
)
def test_a_broken_plugin_costs_one_line_and_nothing_else(
    distributions: FakeDistributions, caplog: pytest.LogCaptureFixture, value: str, reason: str
) -> None:
    distributions.install("pack", {"lina.hooks": {"good": "hook_mod:Good"}}, hook_mod=HOOKS)
    distributions.install("bad", {"lina.hooks": {"bad": f"bad_hook:{value}"}}, bad_hook=HOOKS)
    hook_manager = build_manager()
    assert hook_manager.hook.cli_commands() == [["good"]]
    assert len(caplog.records) == 1
    line = caplog.records[0].getMessage()
    assert "hook:bad (bad 1.0" in line
    assert reason in line
    assert "\n" not in line


@pytest.mark.usefixtures("only_these")
def test_a_duplicate_name_is_reported_once(
    distributions: FakeDistributions, caplog: pytest.LogCaptureFixture
) -> None:
    distributions.install("pack", {"lina.hooks": {"same": "hook_mod:Good"}}, hook_mod=HOOKS)
    distributions.install("bad", {"lina.hooks": {"same": "bad_hook:Good"}}, bad_hook=HOOKS)
    assert build_manager().hook.cli_commands() == []
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["left out"]


@pytest.mark.usefixtures("only_these")
def test_a_failing_hook_plugin_is_logged_once_and_disabled(
    distributions: FakeDistributions, caplog: pytest.LogCaptureFixture
) -> None:
    entry_points = {"a": "hook_mod:Good", "b": "hook_mod:Fails", "c": "hook_mod:Good"}
    distributions.install("pack", {"lina.hooks": entry_points}, hook_mod=HOOKS)
    hook_manager = build_manager()
    assert hook_manager.hook.cli_commands() == [["good"], ["good"]]
    assert hook_manager.hook.cli_commands() == [["good"], ["good"]]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "hook:b (pack 1.0, hook_mod:Fails) failed in cli_commands and is disabled from here on: "
        "RuntimeError('no luck')"
    ]


def test_a_hook_gets_the_arguments_that_it_names() -> None:
    class Listener:
        calls: list[Any]

        def __init__(self) -> None:
            self.calls = []

        @hookimpl
        def step_done(self, metrics: dict[str, float], step: int) -> None:
            self.calls.append((step, metrics))

        @hookimpl(tryfirst=True)
        def checkpoint_written(self, path: Path) -> None:
            self.calls.append(path)

    hook_manager, listener = manager(), Listener()
    add_plugin(hook_manager, listener, "listener")
    hook_manager.hook.step_done(run=None, step=3, metrics={"loss": 1.0})
    hook_manager.hook.checkpoint_written(run=None, step=3, path=Path("x"))
    assert listener.calls == [(3, {"loss": 1.0}), Path("x")]


def test_a_person_may_interrupt_a_hook() -> None:
    class Slow:
        @hookimpl
        def run_finished(self) -> None:
            raise KeyboardInterrupt

    hook_manager = manager()
    add_plugin(hook_manager, Slow(), "slow")
    with pytest.raises(KeyboardInterrupt):
        hook_manager.hook.run_finished(run=None)


def test_the_same_name_is_not_registered_twice() -> None:
    class Quiet:
        @hookimpl
        def run_finished(self) -> None: ...

    hook_manager = manager()
    add_plugin(hook_manager, Quiet(), "quiet")
    with pytest.raises(PluginError, match="quiet"):
        add_plugin(hook_manager, Quiet(), "quiet")
