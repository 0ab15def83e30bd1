"""Static checks of commands too slow to run: the command exists, its options and files are right."""

import re
import tomllib
from pathlib import Path

import click

from lina.cli.app import cli
from lina.config.loader import load_spec
from lina.config.resolve import resolve
from lina.core.registry import load

ROOT = Path(__file__).parents[2]


def check_make(targets: list[str]) -> None:
    known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(targets) <= set(known), f"make has {known}"


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in arguments[1:]:
        match = re.fullmatch(r"(?:\.|lina)(?:\[([\w,]+)\])?", requirement)
        assert match is not None, requirement
        assert set((match[1] or "demo").split(",")) <= extras.keys(), requirement


def check_python(arguments: list[str]) -> None:
    """``python -m`` with a module of the repository."""
    assert arguments[0] == "-m"
    assert (ROOT / f"{arguments[1].replace('.', '/')}.py").is_file(), arguments[1]


def check_lina(arguments: list[str]) -> None:
    """The command takes these arguments; a spec loads with its plugins, a corpus exists."""
    command: click.Command = cli
    context = click.Context(cli)
    path: list[str] = []
    while isinstance(command, click.Group):
        name, subcommand, arguments = command.resolve_command(context, arguments)
        assert name is not None
        assert subcommand is not None
        command = subcommand
        path.append(name)
    parameters = command.make_context(path[-1], list(arguments), parent=context).params
    if path == ["run"]:
        resolve(load_spec(parameters["spec"], parameters["overrides"]))
    if path == ["data", "get"]:
        load("corpus", parameters["name"])


def check_tensorboard(arguments: list[str]) -> None:
    assert arguments[0] == "--logdir"


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
    "lina": check_lina,
    "tensorboard": check_tensorboard,
}
