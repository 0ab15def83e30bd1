"""Each test that the table of faults names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_names_existing_tests() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 40
    assert named <= defined, named - defined


def test_the_table_has_all_faults() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert {int(number) for number in re.findall(r"\bT(\d\d)\b", page)} == set(range(1, 49))
