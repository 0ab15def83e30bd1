"""Distributions made up for a test: a module and its entry points in a folder that is put on the path."""

import sys
import textwrap
import tomllib
from pathlib import Path

import pytest


class FakeDistributions:
    """Installs distributions for one test; ``import_path`` is changed back by ``monkeypatch``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def install(
        self, distribution: str, entry_points: dict[str, dict[str, str]], version: str = "1.0", **modules: str
    ) -> Path:
        """``modules`` maps a module's name to its source."""
        site = self._folder / f"site_{distribution}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = []
        for group, named in entry_points.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in named.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(textwrap.dedent(source))
            self._monkeypatch.delitem(sys.modules, module, raising=False)
        self._monkeypatch.syspath_prepend(str(site))
        return site

    def install_project(self, project: Path) -> Path:
        """As ``pip install -e`` would: what the project's pyproject.toml declares, its modules where they are."""
        declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
        site = self.install(declared["name"], declared["entry-points"], declared["version"])
        for module in project.glob("*.py"):
            self._monkeypatch.delitem(sys.modules, module.stem, raising=False)
        self._monkeypatch.syspath_prepend(str(project))
        return site
