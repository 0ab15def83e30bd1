"""The tables of CONTRIBUTING.md, and the diagram of packages, name existing things."""

import re
import tomllib

import pytest
import yaml

import lina
from tests.docs.command_checks import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
TERMS = re.findall(r"^\| ([^|`]+) \| `(lina/[\w/]+\.py)` \|$", TEXT, re.MULTILINE)


def test_there_are_twenty_terms() -> None:
    assert len(TERMS) == len(dict(TERMS)) == 20


@pytest.mark.parametrize(("term", "file"), TERMS)
def test_a_term_stands_in_the_file_that_does_it(term: str, file: str) -> None:
    assert re.search(rf"(?<![a-z]){term}", (ROOT / file).read_text(), re.IGNORECASE)


def test_files_and_folders_exist() -> None:
    for path in re.findall(
        r"`((?:lina|tests|docs|benchmarks|specs|plugins_example|notebooks)/[\w/.]*)`", TEXT
    ):
        assert (ROOT / path).exists(), path


def test_every_package_is_on_the_map() -> None:
    folders = {path.parent.name for path in (ROOT / "lina").glob("*/__init__.py")}
    rows = "".join(re.findall(r"^\| `lina\..*$", TEXT, re.MULTILINE))
    assert set(re.findall(r"`(?:lina)?\.(\w+)`", rows)) == folders


def test_the_diagram_has_the_layers_of_import_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["name"].startswith("layers"))
    boxes = re.findall(r'y="([\d.]+)"[^>]*>(lina\.\w+)<', (ROOT / "docs/pictures/packages.svg").read_text())
    rows: dict[float, set[str]] = {}
    for height, name in boxes:
        rows.setdefault(float(height), set()).add(name)
    assert [rows[height] for height in sorted(rows)] == [
        set(re.findall(r"lina\.\w+", layer)) for layer in layers
    ]


def test_the_citation_has_the_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == lina.__version__
