"""Pages link to existing places, are short, and can all be reached."""

import re
from pathlib import Path

import pytest

import lina
import lina.core
from tests.docs.command_checks import ROOT
from tests.docs.links import broken_links

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "plugins_example").rglob("*.md"))]
MAX_LINES = {"README.md": 150}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_short(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= MAX_LINES.get(page.name, 300)


def test_every_page_is_in_the_index() -> None:
    listed = re.findall(r"^([a-z_]+)$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    pages = {page.stem for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".rst")}
    assert sorted(listed) == sorted(pages - {"index"})


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs/api.rst").read_text()
    words = set(re.findall(r"\w+", text))
    assert {*lina.core.__all__, *lina.__all__} - {"__version__"} <= words


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, with a comma\n\n[a](#a-title-with-a-comma) [b](#other) [c](absent.md) [d](page.md#a)\n"
        "[e](https://example.org/absent)\n\n```text\n# no title\n[f](absent.md)\n```\n"
    )
    assert list(broken_links(page)) == ["#other", "absent.md", "page.md#a"]
