"""The reader of Markdown pages runs their code and compares their output."""

from pathlib import Path

import pytest

from tests.docs.command_checks import ROOT
from tests.docs.markdown import Block, Reader, blocks, commands, require_same


class TestReader:
    def read(self, folder: Path, text: str) -> None:
        (folder / "page.md").write_text(text)
        Reader(folder, {"say": lambda words: (len(words) - 1, "said\n1.25 s\nend")}).read(folder / "page.md")

    def test_a_true_page_passes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    def test_a_false_page_fails(self, tmp_path: Path, text: str) -> None:
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
    assert len(blocks(ROOT / "docs/plugins.md")) > 10
