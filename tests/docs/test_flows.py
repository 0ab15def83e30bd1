"""The four flows of docs/design.md name existing files, and few of them."""

import re

import pytest

from tests.docs.command_checks import ROOT

FLOWS = {"Text to audio": 25, "Spec to checkpoint": 40, "One micro-batch": 15, "One decode step": 9}
SECTION = re.compile(r"^### (.+?)\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("title", "most"), FLOWS.items())
def test_a_flow_has_existing_files(title: str, most: int) -> None:
    (text,) = [
        text for found, text in SECTION.findall((ROOT / "docs/design.md").read_text()) if found == title
    ]
    files = re.findall(r"`(lina/[\w/]+\.py)`", text)
    assert len(set(files)) == len(files) <= most
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(files) > most / 2
