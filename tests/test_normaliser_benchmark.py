import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.from_file import module_from_file

ROOT = Path(__file__).parents[1]
LISTS = [ROOT / "tests/tokenizers" / name for name in ("hard_english.tsv", "unseen_english.tsv")]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return module_from_file(ROOT / "benchmarks/normaliser.py", "normaliser_benchmark")


def test_ours_stays_ahead_in_every_kind(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, least in zip(LISTS, (199, 36), strict=True):
        out = tmp_path / path.name
        monkeypatch.setattr(sys, "argv", ["normaliser", "--list", str(path), "--json", str(out)])
        assert script.main() == 0
        right = json.loads(out.read_text())["right"]
        assert right["all"]["ours"] >= least
        assert all(row["ours"] >= row["hibari"] >= row["none"] for row in right.values())


def test_readings(script: ModuleType) -> None:
    assert script.readings("{a|one} half") == ["a half", "one half"]
    assert script.readings("one hundred five") == ["one hundred five", "one hundred and five"]
    assert script.heard("wˈʌn, tˈu —") == "wʌntu"


def test_measure_and_bad_lists(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [("number", "2", "two"), ("number", "3", "{three|drei}")]
    subjects = {"good": {"2": "two", "3": "drei"}.get, "bad": lambda text: text}
    assert script.measure(lines, subjects, str) == {"good": [], "bad": lines}
    bad = tmp_path / "bad.tsv"
    bad.write_text("number\t2\n")
    monkeypatch.setattr(sys, "argv", ["normaliser", "--list", str(bad)])
    assert script.main() == 2
    assert "bad.tsv:1: wants a kind, a text and its reading" in capsys.readouterr().err
