"""Runtime shape checks (``make shapes``): the modules checked, the tests that run on them, and the type checker."""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

ROOT = Path(__file__).parents[1]
CONF = BeartypeConf(is_pep484_tower=True)
"""An int is also a float."""

BEYOND = {"omegaconf", "concurrent.futures", "multiprocessing", "subprocess", "faster_whisper"}
"""Packages of whole runs and of other processes, which run the same code for longer or without the checks."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the shapes that a function's annotations name, and no other type: tests pass stand-ins for classes.

    jaxtyping's import hook finds it by name, and calls it on functions that it makes of the signatures alone.
    """
    annotations = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in annotations.items() if names_a_shape(hint)}
    return beartype(conf=CONF)(function) if function.__annotations__ else function


def names_a_shape(hint: Any) -> bool:
    """True for a jaxtyping annotation, and for a type with one among its arguments."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(names_a_shape, get_args(hint)))


@cache
def checked_modules() -> frozenset[str]:
    """Names of all modules of lina that annotate shapes, that is, import jaxtyping."""
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "lina").rglob("*.py"))
    return frozenset(name for name in names if "jaxtyping" in imports(source(name)))


def runs_tensor_code_alone(test: Path) -> bool:
    """True for a test module that imports a checked module, and nothing that leads to a package of ``BEYOND``."""
    todo, found = [*imports(test)], imports(test)
    while todo:
        new = imports(source(todo.pop())) - found
        todo, found = [*todo, *new], found | new
    return not imports(test).isdisjoint(checked_modules()) and found.isdisjoint(BEYOND)


def source(module: str) -> Path:
    """File of a module of this repository; a package is its ``__init__.py``."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules that a source file imports anywhere; of ``from a import b`` both ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes() if path.is_file() else b"")):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)
