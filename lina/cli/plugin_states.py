"""States of installed plugins, each imported in a process of its own: an import may end or break its process."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

from lina.core.entry_points import ALLOW_LIST, Record, records
from lina.core.errors import PluginError
from lina.core.registry import load_record

SECONDS = 120.0
"""Limit of an import."""


@dataclass(frozen=True)
class PluginState:
    """Result of loading a plugin alone."""

    record: Record
    state: Literal["ok", "broken", "blocked"]
    reason: str = ""


def states() -> list[PluginState]:
    """Load every installed plugin alone: a broken one does not affect others and has its reason."""
    # Forked processes share what core has imported; elsewhere than on Linux, libraries do not survive a fork.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    installed = records()
    return [_state(record, _namesakes(record, installed), context) for record in installed]


def _namesakes(record: Record, installed: list[Record]) -> list[Record]:
    return [one for one in installed if one.full_name == record.full_name and one.allowed and one != record]


def _state(
    record: Record, namesakes: list[Record], context: multiprocessing.context.BaseContext
) -> PluginState:
    if not record.allowed:
        return PluginState(record, "blocked", f"left out by {ALLOW_LIST}")
    if reason := _import_alone(record, context):
        return PluginState(record, "broken", reason)
    if namesakes:
        others = " and ".join(f"{one.distribution} {one.version}" for one in namesakes)
        return PluginState(
            record, "ok", f"also offered by {others}; write {record.distribution}:{record.name} for this one"
        )
    return PluginState(record, "ok")


def _import_alone(record: Record, context: multiprocessing.context.BaseContext) -> str:
    """The reason why a plugin cannot be loaded, or nothing."""
    import lina.core.plugin  # noqa: F401  before the fork, once for all

    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_load, args=(record, theirs), daemon=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads and forks
        process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            process.kill()
            return f"its import does not end ({SECONDS:.0f} s); report this to the authors of {record.distribution}"
        return str(ours.recv())
    except EOFError:
        process.join()
        return f"its import {_ending(process.exitcode)}; report this to the authors of {record.distribution}"
    finally:
        process.join()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"ended the process by {signal.Signals(-code).name}"
    return f"ended the process with exit code {code}"


def _load(record: Record, answer: Connection) -> None:
    faulthandler.disable()  # a plugin's crash is one line
    os.dup2(2, 1)  # prints of a plugin belong beside the table
    try:
        load_record(record)
    except PluginError as error:
        answer.send(str(error).removeprefix(f"{record} "))
    except BaseException as error:
        answer.send(
            f"its import raised {type(error).__name__}; report this to the authors of {record.distribution}"
        )
    else:
        answer.send("")
    sys.stdout.flush()
    os._exit(0)
