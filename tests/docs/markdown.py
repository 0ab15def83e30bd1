"""Run the code blocks of a Markdown page, in order, as a reader would.

    ```python                    executed; all blocks of a page share their names
    ```python from=FILE          a quotation: must stand in that file of the repository
    ```yaml FILE                 written to that file (any language)
    ```console                   lines after ``$`` are commands, the others their output
    ```console slow              too slow for a test: the commands are checked, not run
    ```text                      left alone

Printed lines are compared with ``...`` for any text in between, and without decimal numbers.
"""

import doctest
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DECIMAL = re.compile(r"\d+\.\d+(e[-+]?\d+)?")
RULES = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    language: str
    info: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [
        Block(one[1], one[2], one[3], text.count("\n", 0, one.start()) + 1) for one in FENCE.finditer(text)
    ]
    assert text.count("```") == 2 * len(found), f"{page}: a fence without a language, or not closed"
    return found


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """Pairs of command and output of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, printed = part.replace("\\\n", " ").partition("\n")
        yield command, printed


def require_same(expected: str, found: str, where: str) -> None:
    expected, found = (DECIMAL.sub("#", text).strip() for text in (expected, found))
    checker = doctest.OutputChecker()
    assert checker.check_output(expected, found, RULES), (
        f"{where}: the page says\n{expected}\nbut it is\n{found}"
    )


class Reader:
    """Follow a page in the current folder. ``tools`` runs programs by name: arguments -> (exit code, output).

    ``checks`` validate commands that are not run, by program; an exception names the mistake.
    """

    def __init__(
        self,
        root: Path,
        tools: dict[str, Callable[[list[str]], tuple[int, str]]],
        checks: dict[str, Callable[[list[str]], None]] | None = None,
    ) -> None:
        self.root, self.tools, self.checks = root, tools, checks or {}
        self.names: dict[str, Any] = {"__name__": "page"}

    def read(self, page: Path) -> None:
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            if block.info.startswith("from="):
                assert block.text in (self.root / block.info.removeprefix("from=")).read_text(), where
            elif (block.language, block.info) == ("console", "slow"):
                for command, _ in commands(block):
                    program, *arguments = shlex.split(command)
                    self.checks[program](arguments)
            elif block.info:
                Path(block.info).parent.mkdir(parents=True, exist_ok=True)
                Path(block.info).write_text(block.text)
            elif block.language == "python":
                exec(compile(block.text, where, "exec"), self.names)
            elif block.language == "console":
                for command, printed in commands(block):
                    self.run(command, printed, f"{where}: {command}")
            else:
                assert block.language == "text", f"{where}: unknown language {block.language}"

    def run(self, command: str, printed: str, where: str) -> None:
        program, *arguments = shlex.split(command)
        code, output = self.tools[program](arguments)
        may_fail = "FAILED" in printed or "error:" in printed
        assert code == 0 or may_fail, f"{where}: exit code {code}\n{output}"
        require_same(printed, output, where)


def run_pytest(arguments: list[str]) -> tuple[int, str]:
    """Run ``python -m pytest ...``, the one use of ``python`` that pages show the output of."""
    assert arguments[:2] == ["-m", "pytest"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments[2:]],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout
