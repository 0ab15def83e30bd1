import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import normalizer

ROOT = Path(__file__).parents[1]
LISTS = [ROOT / "tests/tokenizers" / name for name in ("hard_english.tsv", "unseen_english.tsv")]


def test_ours_stays_ahead_in_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, least in zip(LISTS, (205, 39), strict=True):
        out = tmp_path / path.name
        monkeypatch.setattr(sys, "argv", ["normalizer", "--list", str(path), "--json", str(out)])
        assert normalizer.main() == 0
        right = json.loads(out.read_text())["right"]
        assert right["all"]["ours"] >= least
        assert all(row["ours"] >= row["hibari"] >= row["none"] for row in right.values())


def test_readings() -> None:
    assert normalizer.readings("{a|one} half") == ["a half", "one half"]
    assert normalizer.readings("one hundred five") == ["one hundred five", "one hundred and five"]
    assert normalizer.audible("wˈʌn, tˈu —") == "wʌntu"


def test_measure_and_bad_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [("number", "2", "two"), ("number", "3", "{three|drei}")]
    subjects: dict[str, Callable[[str], str]] = {
        "good": lambda text: {"2": "two", "3": "drei"}[text],
        "bad": lambda text: text,
    }
    assert normalizer.measure(lines, subjects, str) == {"good": [], "bad": lines}
    bad = tmp_path / "bad.tsv"
    bad.write_text("number\t2\n")
    monkeypatch.setattr(sys, "argv", ["normalizer", "--list", str(bad)])
    assert normalizer.main() == 2
    assert "bad.tsv:1: wants a kind, a text and its reading" in capsys.readouterr().err
