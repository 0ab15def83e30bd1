"""Fingerprint of the code that results depend on: the definitions that it uses, by their syntax trees.

A definition counts by its name and its tree, without docstrings, comments, imports and the types in signatures. The
module that holds it does not count, so results stay valid when code moves, and the same code has the same fingerprint
on every Python.
"""

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

MOST_IMPORTS = 20
"""Modules that a name may be passed on through; an import cycle ends there."""


class Definition(NamedTuple):
    module: str
    name: str


class _Module(NamedTuple):
    definitions: dict[str, list[ast.stmt]]
    """Top-level statements by each name that they bind; of a name that is bound twice, both."""
    imports: dict[str, tuple[str, str]]
    """Local name to the module and name that it was imported from, wherever in the file."""


def fingerprint(roots: Iterable[Definition], covered: Collection[str]) -> str:
    """SHA-256 of ``roots`` and of all that they use, directly or not, of the modules and packages ``covered``."""
    trees = {
        f"{name} {_serialized(statement)}"
        for module, name in reachable(roots, covered)
        for statement in _parsed(module).definitions[name]
    }
    return hashlib.sha256("\n".join(sorted(trees)).encode()).hexdigest()


def reachable(roots: Iterable[Definition], covered: Collection[str]) -> set[Definition]:
    """The definitions of ``covered`` among ``roots`` and what they use, directly or not."""
    todo, seen = list(roots), set[Definition]()
    packages = {one.partition(".")[0] for one in covered}
    while todo:
        definition = _resolved(todo.pop(), packages)
        if definition is None or definition in seen or not _is_in(definition.module, covered):
            continue
        seen.add(definition)
        for statement in _parsed(definition.module).definitions[definition.name]:
            todo += _uses(statement, definition.module, packages)
    return seen


def definitions_of(package: str) -> list[Definition]:
    """Every definition of a package or module."""
    root = _root(package.partition(".")[0])
    if root is None:
        return []
    path = root / package.replace(".", "/")
    files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    modules = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
    return [one for module in modules for one in _module_definitions(module.removesuffix(".__init__"))]


def _module_definitions(module: str) -> list[Definition]:
    """The definitions of a module of Python source; none if ``module`` is something else."""
    return [Definition(module, name) for name in _parsed(module).definitions]


def _is_in(module: str, covered: Collection[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in covered)


@cache
def _root(top: str) -> Path | None:
    """Folder that holds a top-level module or package, which is not imported; None if it has no source file."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return Path(spec.origin).parent if spec.origin and spec.origin.endswith(".py") else None


def _file(module: str) -> Path | None:
    root = _root(module.partition(".")[0])
    if root is None:
        return None
    path = root / module.replace(".", "/")
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _parsed(module: str) -> _Module:
    file = _file(module)
    if file is None:
        return _Module({}, {})
    tree = ast.parse(file.read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            definitions.setdefault(name, []).append(statement)
    imports = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    return _Module(definitions, imports)


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement binds, imports aside; of a compound one, all that its blocks bind."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.If | ast.Try | ast.With):
        blocks = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        return set().union(*map(_bound, blocks))
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return set()


def _resolved(definition: Definition, packages: Collection[str]) -> Definition | None:
    """Find the module that defines a name, following imports; None outside of ``packages``, which are top-level."""
    module, name = definition
    for _ in range(MOST_IMPORTS):
        if module.partition(".")[0] not in packages:
            return None
        if name in _parsed(module).definitions:
            return Definition(module, name)
        if name not in _parsed(module).imports:
            return None
        module, name = _parsed(module).imports[name]
    return None


def _uses(statement: ast.stmt, module: str, packages: Collection[str]) -> Iterator[Definition]:
    nodes = list(ast.walk(statement))
    attributes = [
        node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    for attribute in attributes:
        assert isinstance(attribute.value, ast.Name)
        imported = _parsed(module).imports.get(attribute.value.id)
        if imported is not None:
            yield Definition(".".join(imported), attribute.attr)  # an attribute of an imported module
    qualifiers = {id(attribute.value) for attribute in attributes}
    for node in nodes:
        if isinstance(node, ast.Name):
            yield Definition(module, node.id)
            imported = _parsed(module).imports.get(node.id)
            inside = imported is not None and imported[0].partition(".")[0] in packages
            if imported is not None and inside and id(node) not in qualifiers:
                yield from _module_definitions(
                    ".".join(imported)
                )  # a module as a value: all of it may be used


def _serialized(node: object) -> str:
    """A syntax tree as text, equal on all versions of Python: only fields that are set, no docstrings, no imports."""
    if isinstance(node, list):
        kept = [item for item in node if not isinstance(item, ast.Import | ast.ImportFrom)]
        return f"[{','.join(map(_serialized, kept))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    for name in ("ctx", "kind", "type_comment", "returns"):
        fields.pop(name, None)
    if isinstance(node, ast.arg):
        fields.pop("annotation", None)  # shapes in signatures compute nothing
    body = fields.get("body")
    if isinstance(body, list):
        fields["body"] = [item for item in body if not _is_docstring(item)]
    parts = (f"{name}={_serialized(value)}" for name, value in fields.items())
    return f"{type(node).__name__}({','.join(parts)})"


def _is_docstring(statement: ast.stmt) -> bool:
    """A string that stands as a statement documents what is around it and does nothing."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
