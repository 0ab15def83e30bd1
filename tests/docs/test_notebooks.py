"""The notebooks run from start to end, and import the public surface only."""

import json
from pathlib import Path

import pytest

from tests.docs.command_checks import ROOT
from tests.docs.notebooks import Tool, run_notebook
from tests.test_public_surface import outside

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(
    path: Path, clone: Path, tools: dict[str, Tool], monkeypatch: pytest.MonkeyPatch
) -> None:
    (clone / "notebooks").mkdir()
    monkeypatch.chdir(clone / "notebooks")
    run_notebook(path, tools)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_import_the_public_surface_only(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    python = [source for source in sources if "import " in source and not source.startswith(("!", "%"))]
    modules = [
        source.partition("\n")[2]
        for source in sources
        if source.startswith("%%writefile") and ".py" in source
    ]
    assert python
    assert [found for source in python + modules for found in outside(source)] == []


@pytest.mark.parametrize(
    "source", ["assert 1 == 2", "!lina fail", "%%writefile a.py\nassert False", "import absent_module"]
)
def test_a_failing_cell_fails(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = (
        [source]
        if "writefile" not in source
        else [source, "import pathlib; exec(pathlib.Path('a.py').read_text())"]
    )
    cells = [{"cell_type": "code", "id": "x", "outputs": [], "source": [one]} for one in sources]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises((AssertionError, ImportError)):
        run_notebook(tmp_path / "n.ipynb", {"lina": lambda arguments: (1, "failed")})
