"""Wording of docstrings and identifiers, kept by the counts of benchmarks/wording.py."""

from pathlib import Path

import pytest

from benchmarks.wording import ROOT, measure

WHAT_PER_1000 = 1.0


@pytest.mark.parametrize("folder", ["lina", "tests", "benchmarks", "plugins_example"])
def test_docstrings_and_identifiers_follow_the_rules(folder: str) -> None:
    found = measure([ROOT / folder])
    assert found.docstrings > 0
    assert found.interrogative == ()
    assert found.identifiers == ()
    assert found.what_per_1000 < WHAT_PER_1000 or folder != "lina"


def test_every_kind_of_breach_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "told.py"
    file.write_text(
        '"""What it does."""\n'
        "import os as heard\n"
        "class Said:\n"
        "    spoken: int\n"
        '    """Where what was spoken lies."""\n'
        "    def call(self, asked, *made, **judged):\n"
        '        """How to call; whatever."""\n'
        "        self._wanted = given = 1\n"
        "        return self.said\n"
        "team = whether = Team = 'What is no docstring'\n"
    )
    found = measure([tmp_path])
    assert (found.docstrings, found.what, found.words) == (3, 2, 12)
    assert [breach.partition(": ")[2] for breach in found.interrogative] == [
        "What it does.",
        "Where what was spoken lies.",
        "How to call; whatever.",
    ]
    names = sorted(breach.partition(": ")[2] for breach in found.identifiers)
    assert names == ["Said", "Team", "_wanted", "asked", "given", "heard", "judged", "made", "spoken", "told"]
    assert f"{file}:1: told" in found.identifiers
    assert f"{file}:8: _wanted" in found.identifiers
