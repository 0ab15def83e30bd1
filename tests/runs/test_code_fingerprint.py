"""Fingerprint of the code behind a measurement: what changes it, and what does not."""

from pathlib import Path

import pytest

from lina.runs import code_fingerprint
from lina.runs.code_fingerprint import Definition, definitions_of, fingerprint, reachable

PLUGIN = '''
"""A plugin."""
import math
from house.ops import scan
from house import fast

class Plugin:
    """Docs."""
    def build(self):
        return scan(1) + fast.kernel(2)

def unused():
    return 0
'''
OPS = '''
from house.errors import fail

def scan(x):
    """Sum."""
    return helper(x)  # why

def helper(x):
    return fail(x) + 1

def other(x):
    return x
'''
FILES = {
    "plugin": PLUGIN,
    "ops": OPS,
    "fast": "def kernel(x):\n    return x * 2\n",
    "errors": "def fail(x):\n    return x\n",
}
COVERED = ("house.plugin", "house.ops", "house.fast", "house.sums")


def clear() -> None:
    code_fingerprint._parsed.cache_clear()
    code_fingerprint._root.cache_clear()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    clear()
    (tmp_path / "house").mkdir()
    for name, text in FILES.items():
        (tmp_path / f"house/{name}.py").write_text(text)
    return tmp_path / "house"


def of_plugin(module: str = "house.plugin") -> str:
    clear()
    return fingerprint([Definition(module, "Plugin")], COVERED)


def rewrite(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_reachable_definitions(house: Path) -> None:
    assert reachable([Definition("house.plugin", "Plugin")], COVERED) == {
        Definition("house.plugin", "Plugin"),
        Definition("house.ops", "scan"),
        Definition("house.ops", "helper"),
        Definition("house.fast", "kernel"),
    }
    assert set(definitions_of("house.ops")) == {
        Definition("house.ops", n) for n in ("scan", "helper", "other")
    }


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("plugin", "scan(1)", "scan(3)"),
        ("ops", "fail(x) + 1", "fail(x) + 2"),
        ("fast", "x * 2", "x * 4"),
        ("ops", "def helper(x)", "def helper(x=0)"),
    ],
)
def test_changed_code_changes_it(house: Path, file: str, before: str, after: str) -> None:
    unchanged = of_plugin()
    rewrite(house / f"{file}.py", before, after)
    assert of_plugin() != unchanged


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("plugin", '"""Docs."""', '"""Other docs.\n\n    More.\n    """'),
        ("ops", "  # why", ""),
        ("ops", "return x\n", "return x + 1\n"),
        ("plugin", "return 0", "return 1"),
        ("errors", "return x", "return -x"),
        ("plugin", "import math\n", ""),
    ],
)
def test_docs_comments_and_other_code_do_not(house: Path, file: str, before: str, after: str) -> None:
    unchanged = of_plugin()
    rewrite(house / f"{file}.py", before, after)
    assert of_plugin() == unchanged


def test_moved_and_merged_modules_do_not(house: Path) -> None:
    unchanged = of_plugin()
    kernel = (house / "fast.py").read_text()
    (house / "fast.py").unlink()
    (house / "ops.py").rename(house / "sums.py")
    (house / "plugin.py").rename(house / "ops.py")
    rewrite(house / "ops.py", "house.ops", "house.sums")
    rewrite(house / "ops.py", "from house import fast", "from house import sums as fast")
    (house / "sums.py").write_text((house / "sums.py").read_text() + kernel)
    assert of_plugin("house.ops") == unchanged


def test_a_module_as_a_value_counts_whole(house: Path) -> None:
    rewrite(house / "plugin.py", "fast.kernel(2)", "call(fast)")
    assert Definition("house.fast", "kernel") in reachable([Definition("house.plugin", "Plugin")], COVERED)
