"""docs/plugins.md is true: a reader who types what it says sees what it shows."""

import sys
from pathlib import Path

import pytest

from lina.core.laws import laws_for
from lina.core.registry import load
from tests.cli.conftest import Lina
from tests.docs.markdown import Block, Reader, blocks, commands, pytest_tool, require_same
from tests.fakes import FakeDistributions

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/plugins.md"


def test_the_page_can_be_followed(
    lina: Lina, distributions: FakeDistributions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for folder in ("data", "specs", "plugins_example"):
        (clone / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(clone)
    # Files that change within a second would be read from their old bytecode.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "100")

    def lina_tool(arguments: list[str]) -> tuple[int, str]:
        for name in [name for name in sys.modules if name.startswith("lina_")]:
            monkeypatch.delitem(sys.modules, name)
        done = lina(*arguments)
        return done.code, done.out or done.err

    def pip_tool(arguments: list[str]) -> tuple[int, str]:
        for package in arguments[arguments.index("install") + 1 :]:
            if package != "-e":
                distributions.install_project(clone / package)
        return 0, ""

    Reader(ROOT, {"lina": lina_tool, "pip": pip_tool, "pytest": pytest_tool}).read(PAGE)


@pytest.mark.parametrize(
    ("role", "name"), [("backbone", "gla"), ("codec", "encodec"), ("codec", "codec2"), ("tokenizer", "bytes")]
)
def test_every_law_is_explained(role: str, name: str) -> None:
    for page in (PAGE, PAGE.with_name("design.md")):
        text = page.read_text()
        for law in laws_for(load(role, name)):  # type: ignore[call-overload]
            plain = law.name.removeprefix("encoder_").removeprefix("decoder_")
            assert f"`{plain}`" in text, f"{page.name}: {law.name}"


class TestReader:
    def read(self, folder: Path, text: str) -> None:
        (folder / "page.md").write_text(text)
        Reader(folder, {"say": lambda words: (len(words) - 1, "said\n1.25 s\nend")}).read(folder / "page.md")

    def test_what_is_true_passes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        self.read(
            tmp_path,
            "```text file.txt\na\nb\n```\n```text from=file.txt\nb\n```\n```python\nx = 1\n```\n"
            "```python\nassert x == 1\n```\n```console\n$ say hello\nsaid\n9.75 s\n...\n```\n",
        )
        assert (tmp_path / "file.txt").read_text() == "a\nb\n"

    @pytest.mark.parametrize(
        "text",
        [
            "```python\nassert 1 == 2\n```\n",
            "```console\n$ say hello\nnothing\n```\n",
            "```console\n$ say hello world\nsaid\n...\n```\n",
            "```text from=other.md\nabsent\n```\n",
            "```\nno language\n```\n",
            "```ruby\nputs\n```\n",
        ],
    )
    def test_what_is_false_fails(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "other.md").touch()
        with pytest.raises(AssertionError):
            self.read(tmp_path, text)


def test_commands_may_go_on_over_lines() -> None:
    block = Block("console", "", "$ a \\\n  b\nout\n$ c\n", 1)
    assert [(shell.split(), printed) for shell, printed in commands(block)] == [
        (["a", "b"], "out\n"),
        (["c"], ""),
    ]


def test_decimals_are_not_compared() -> None:
    require_same("0.31 of 3", "0.4e-7 of 3", "here")
    with pytest.raises(AssertionError):
        require_same("0.31 of 3", "0.31 of 4", "here")


def test_a_page_has_blocks() -> None:
    assert len(blocks(PAGE)) > 10
