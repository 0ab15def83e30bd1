"""Commands that hook plugins add to ``lina``."""

import functools
import logging
from collections.abc import Iterable

import click

from lina.core.registry import records

log = logging.getLogger("lina")
OWN = "lina"


def extra_commands(taken: Iterable[str]) -> dict[str, click.Command]:
    """Commands of third-party hook plugins by name; lina's own add none and are slow to import."""
    return _extra_commands(frozenset(taken))


@functools.cache
def _extra_commands(taken: frozenset[str]) -> dict[str, click.Command]:
    third_party = {record.name for record in records("hook") if record.distribution != OWN}
    if not third_party:
        return {}
    from lina.runs.hook_manager import build_manager

    found: dict[str, click.Command] = {}
    for commands in build_manager(third_party).hook.cli_commands():
        for command in commands if isinstance(commands, list | tuple) else [commands]:
            if not isinstance(command, click.Command) or not command.name:
                log.warning(
                    "a hook plugin offers %r as a command; it must be a click.Command with a name", command
                )
            elif command.name in taken or command.name in found:
                log.warning("a hook plugin offers a second command %r; it is left out", command.name)
            else:
                found[command.name] = command
    return found
