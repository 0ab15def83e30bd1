"""``lina new``: write a working plugin package as a starting point."""

import re
import shlex
from pathlib import Path

import click

from lina.core.errors import LinaError, PluginError, did_you_mean
from lina.core.registry import GROUPS, records

ROLES = ("backbone", "codec", "tokenizer")
FILES = {
    "pyproject.toml": "pyproject.toml.j2",
    "README.md": "README.md.j2",
    "{module}.py": "{kind}/module.py.j2",
    "tests/test_laws.py": "test_laws.py.j2",
}
"""Files of a package -> their templates."""
NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 50


@click.command(short_help="Write a plugin package to start from.")
@click.argument("role")
@click.argument("name")
@click.option("--whole", is_flag=True, help="A codec of whole utterances, which is no stream.")
@click.option("--into", type=Path, default=Path(), metavar="DIR", help="Parent folder; default: here.")
def new(role: str, name: str, whole: bool, into: Path) -> None:
    """Write the package lina-NAME: a plugin that passes the laws, its test, its pyproject.

    ROLE is backbone, codec or tokenizer. docs/plugins.md explains the next steps.

    \b
    Example:
      lina new backbone mine
    """
    _require_free(role, name)
    package = write_package(role, name, into, whole=whole)
    click.echo(f"{package}: {', '.join(files_of(role, name))}")
    folder, with_tests = shlex.quote(str(package)), shlex.quote(f"{package}[test]")
    click.echo(f"next:\n  pip install -e {with_tests}")
    click.echo(f"  lina check {role}:{name}\n  python -m pytest {folder}")
    click.echo(f"in a spec:\n  {role}: {{plugin: {name}}}")


def write_package(role: str, name: str, into: Path, *, whole: bool = False) -> Path:
    """Write the package ``lina-NAME`` into a folder, and return the package's folder.

    Args:
        whole: a codec of whole utterances.

    Raises:
        LinaError: the package exists already or cannot be written.
    """
    package = into / f"lina-{name}"
    contents = files_of(role, name, whole=whole)
    try:
        into.mkdir(parents=True, exist_ok=True)
        package.mkdir()
        for path, text in contents.items():
            (package / path).parent.mkdir(exist_ok=True)
            (package / path).write_text(text, encoding="utf-8")
    except OSError as error:
        if package.is_dir() and isinstance(error, FileExistsError):
            raise LinaError(f"{package}: exists already; choose another name, or another --into") from None
        raise LinaError(f"{package}: cannot be written: {error.strerror}; choose another --into") from None
    return package


def files_of(role: str, name: str, *, whole: bool = False) -> dict[str, str]:
    """The package's files by their paths in it.

    Raises:
        PluginError: there is no template for the role, or ``name`` is not a valid name.
    """
    if role not in ROLES:
        raise PluginError(f"no template for a {role!r}{did_you_mean(role, ROLES)}")
    if whole and role != "codec":
        raise PluginError(f"--whole is for codecs, and this is a {role}; leave it out")
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise PluginError(
            f"{name!r} is not a valid plugin name: lower-case letters, digits, - and _, a letter first, at most "
            f"{LONGEST} characters{_nearest(name)}"
        )
    from jinja2 import Environment, PackageLoader, StrictUndefined

    values = {
        "role": role,
        "kind": "whole_codec" if whole else role,
        "name": name,
        "group": GROUPS[role],
        "distribution": f"lina-{name}",
        "module": f"lina_{name.replace('-', '_')}",
        "class": "".join(part.capitalize() for part in re.split("[-_]", name)) + role.capitalize(),
    }
    environment = Environment(
        loader=PackageLoader("lina.cli"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return {
        path.format(**values): environment.get_template(template.format(**values)).render(values)
        for path, template in FILES.items()
    }


def _nearest(name: str) -> str:
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789").rstrip("-")
    return f"; did you mean {near!r}?" if NAME.fullmatch(near) and len(near) <= LONGEST else ""


def _require_free(role: str, name: str) -> None:
    for record in records():
        if (record.role, record.name) == (role, name) or record.distribution == f"lina-{name}":
            raise PluginError(f"{record} is installed already; choose another name")
