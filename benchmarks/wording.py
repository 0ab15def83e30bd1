"""Count the breaches of lina's rules of wording in docstrings and identifiers.

    python -m benchmarks.wording [--json FILE] [PATH ...]

Counted are docstrings that begin with What, Whether, Who, Where or How; "what" per 1,000 docstring words; and
identifiers that are bare participles (``asked``) or former names (``Team``). PATH is a Python file or a folder, by
default lina and tests. Attribute docstrings (a string after an assignment) count as docstrings.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEFAULT = ("lina", "tests")

PARTICIPLES = {
    *("asked", "told", "said", "heard", "wanted", "given", "made", "spoken", "judged"),
    *("counted", "begun", "mended"),
}
FORMER_NAMES = {
    *("Frontend", "build_frontend", "frontend_of", "toy_frontend", "use_fast", "FastFormConfig"),
    *("MixedPrecisionFormConfig", "say_once", "LawBroken", "Team", "Follower", "gathered", "Part"),
    *("Parts", "strayed", "lingered", "going_on", "badness", "telling", "spelling", "listen"),
    *("is_finished", "check_wishes", "text_set_run", "clip_file", "timed_synthesis"),
    *("convert_seed", "seed_name", "Script", "write_script", "iterate_lines", "look_at_run", "normalise"),
}
"""Names that were replaced; a leading underscore does not matter."""

_INTERROGATIVE = re.compile(r"(What|Whether|Who|Where|How)\b")


@dataclass(frozen=True)
class Wording:
    """Counts over some files; breaches as ``file:line: name or first words``."""

    docstrings: int
    words: int
    what: int
    interrogative: tuple[str, ...]
    """Docstrings that begin with What, Whether, Who, Where or How."""
    identifiers: tuple[str, ...]

    @property
    def what_per_1000(self) -> float:
        return 1000 * self.what / max(self.words, 1)


def measure(paths: Sequence[Path]) -> Wording:
    """Count over Python files, and over those in folders.

    Raises:
        OSError: A file cannot be read.
        SyntaxError: A file is not Python.
    """
    docstrings = words = what = 0
    interrogative: list[str] = []
    identifiers: list[str] = []
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for line, text in _docstrings(tree):
                docstrings += 1
                words += len(re.findall(r"\w+", text))
                what += len(re.findall(r"\bwhat\b", text, re.IGNORECASE))
                if _INTERROGATIVE.match(text.lstrip()):
                    interrogative.append(f"{_relative(file)}:{line}: {text.strip().splitlines()[0]}")
            found = [(1, file.stem), *_bound_names(tree)]
            identifiers += [f"{_relative(file)}:{line}: {name}" for line, name in found if is_breach(name)]
    return Wording(docstrings, words, what, tuple(interrogative), tuple(identifiers))


def is_breach(identifier: str) -> bool:
    """Return whether an identifier is a bare participle or a former name."""
    name = identifier.strip("_")
    return name.lower() in PARTICIPLES or name in FORMER_NAMES


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[:1]
        elif isinstance(node, ast.Module | ast.ClassDef):
            body = node.body
        else:
            continue
        for statement in body:
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text


def _bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of each definition, parameter, assignment target and alias."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case (
                ast.arg(arg=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
            ):
                yield node.lineno, name
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def _relative(file: Path) -> Path:
    return file.resolve().relative_to(ROOT) if file.resolve().is_relative_to(ROOT) else file


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wording", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    parser.add_argument(
        "paths", nargs="*", type=Path, default=[ROOT / name for name in DEFAULT], metavar="PATH"
    )
    options = parser.parse_args()
    if missing := [path for path in options.paths if not path.exists()]:
        parser.error(f"{missing[0]}: no such file or folder")
    found = measure(options.paths)
    for breach in (*found.interrogative, *found.identifiers):
        print(breach)
    print(
        f"{found.docstrings} docstrings of {found.words} words: {len(found.interrogative)} begin with "
        f"What/Whether/Who/Where/How, {found.what_per_1000:.2f} what per 1,000 words; "
        f"{len(found.identifiers)} identifiers"
    )
    if options.json is not None:
        options.json.write_text(
            json.dumps(asdict(found) | {"what_per_1000": found.what_per_1000}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
