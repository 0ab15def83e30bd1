"""The public surface is lina and lina.core: small, lazy, and all that pages, templates and examples import."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import lina
import lina.core
from lina.cli.new import ROLES, files_of
from tests.docs.markdown import blocks

ROOT = Path(__file__).parents[1]
PUBLIC = {module.__name__: module for module in (lina, lina.core)}
EXAMPLES = sorted((ROOT / "plugins_example").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Module and name (or "") of each import of lina."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "lina")
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "lina":
            yield from ((str(node.module), alias.name) for alias in node.names)


def outside(source: str) -> list[str]:
    """Imports that are not public."""
    return [
        f"{module}: {name}"
        for module, name in imports(source)
        if module not in PUBLIC or (name and name not in PUBLIC[module].__all__)
    ]


def test_an_import_from_deeper_is_found() -> None:
    source = """
        import lina
        import lina.core.state
        from lina.core import MixerPlugin, registry
        def later():
            from lina.core.plugin import PluginConfig
    """
    assert outside(textwrap.dedent(source)) == [
        "lina.core.state: ",
        "lina.core: registry",
        "lina.core.plugin: PluginConfig",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_import_the_public_surface_only(path: Path) -> None:
    assert any(imports(path.read_text()))
    assert outside(path.read_text()) == []


@pytest.mark.parametrize("role", ROLES)
def test_templates_import_the_public_surface_only(role: str) -> None:
    sources = [text for name, text in files_of(role, "mine").items() if name.endswith(".py")]
    assert sources
    for source in sources:
        assert any(imports(source))
        assert outside(source) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_the_public_surface_only(page: Path) -> None:
    python = [
        block for block in blocks(page) if block.language == "python" and not block.info.startswith("from=")
    ]
    for block in python:
        assert outside(block.text) == [], f"{page.name}:{block.line}"


def test_pages_show_the_public_surface() -> None:
    shown = {
        (module, name)
        for page in PAGES
        for block in blocks(page)
        if block.language == "python" and not block.info.startswith("from=")
        for module, name in imports(block.text)
    }
    assert {("lina", ""), ("lina", "hookimpl"), ("lina.core", "run_laws")} <= shown


@pytest.mark.parametrize("public", PUBLIC)
def test_every_public_name_is_there_and_typed(public: str) -> None:
    """The imports for type checkers, ``__all__`` and the lazy look-up name the same things."""
    module = PUBLIC[public]
    tree = ast.parse(Path(str(module.__file__)).read_text())
    typed = {
        alias.name: str(node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    own = {name for name in module.__all__ if name in vars(module) and name not in typed} | {"__version__"}
    assert isinstance(lina.__version__, str)
    lazy = set(module.__all__) - own
    assert lazy <= set(typed)
    for name in lazy:
        value = getattr(module, name)
        assert not isinstance(value, ModuleType)
        assert value is getattr(sys.modules[typed[name]], name)
    assert set(module.__all__) <= set(dir(module))
    misspelt = sorted(lazy)[0] + "n"
    with pytest.raises(AttributeError, match=rf"module '{module.__name__}' has no attribute '{misspelt}'"):
        getattr(module, misspelt)


@pytest.mark.parametrize("module", PUBLIC)
def test_it_imports_no_torch(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
