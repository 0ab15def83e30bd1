"""What can be said of a command without running it: does it exist, are its options and files right?"""

import re
import tomllib
from pathlib import Path

import click

from lina.cli.app import cli
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.registry import load

ROOT = Path(__file__).parents[2]


def look_at_make(targets: list[str]) -> None:
    known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(known), f"make has {known}"


def look_at_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in arguments[1:]:
        named = re.fullmatch(r"(?:\.|lina)(?:\[([\w,]+)\])?", wanted)
        assert named is not None, wanted
        assert set((named[1] or "demo").split(",")) <= extras.keys(), wanted


def look_at_lina(arguments: list[str]) -> None:
    """Its commands take these arguments; a spec loads with its plugins, a corpus is known."""
    command: click.Command = cli
    context = click.Context(cli)
    path: list[str] = []
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(context, arguments)
        assert name is not None
        assert found is not None
        command = found
        path.append(name)
    given = command.make_context(path[-1], list(arguments), parent=context).params
    if path == ["run"]:
        resolve(load_spec(given["spec"], given["overrides"]))
    if path == ["data", "get"]:
        load("corpus", given["name"])


def look_at_tensorboard(arguments: list[str]) -> None:
    assert arguments[0] == "--logdir"


CHECKS = {
    "make": look_at_make,
    "pip": look_at_pip,
    "lina": look_at_lina,
    "tensorboard": look_at_tensorboard,
}
