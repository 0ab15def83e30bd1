"""Paths, names of files, and the options of commands."""

import re

from lina.tokenizers.english.rule import Rule, Style, spell
from lina.tokenizers.english.web import read_address

_ENDINGS = (
    "py|txt|pdf|yaml|yml|json|csv|tsv|md|html?|css|js|ts|jsx|tsx|rs|go|c|h|cpp|hpp|java|rb|php|sh|bat|exe|dll|zip|tar|gz|"
    "png|jpe?g|gif|svg|mp3|mp4|wav|flac|ogg|mov|avi|docx?|xlsx?|pptx?|xml|toml|ini|cfg|conf|log|sql|db|ipynb|tex|iso|app"
)
_WORDS = frozenset((
    "a", "i", "is", "in", "it", "or", "of", "to", "at", "as", "he", "we", "no", "so", "if", "an", "on", "by",
    "my", "be", "do", "go", "up", "us", "am", "me", "and", "but", "the", "you", "not", "for",
))  # fmt: skip
_FILE = re.compile(rf"\.(?:{_ENDINGS})$")
_STEP = r"(?:[\w@+%.-]{1,80}+)"


def _path(match: re.Match[str], style: Style) -> str:
    return read_address(match[0].rstrip("/") or "/", style)


def _path_of_file(match: re.Match[str], style: Style) -> str | None:
    """``src/main.rs``; other endings make no path: ``he/she``."""
    return _path(match, style) if _FILE.search(match[0]) else None


def _windows(match: re.Match[str], style: Style) -> str:
    return read_address(match[0], style)


def _option(match: re.Match[str], style: Style) -> str | None:
    """``-la`` is spelled, ``--amend`` is a word."""
    dashes, name = match[1], match[2]
    if name in _WORDS and dashes == "-":
        return None
    short = dashes == "-" and (len(name) < 3 or not set(name) & set("aeiouy"))
    return spell(name, style) if short else name.replace("-", " ")


RULES: tuple[Rule, ...] = (
    Rule(r"[A-Za-z]:\\[\w.\\-]*\w", _windows),
    Rule(rf"(?<![\w/.~])(?:~|\.{{1,2}})?(?:/{_STEP}){{1,12}}/?(?<![.])", _path),
    Rule(rf"(?<![\w/.~-]){_STEP}(?:/{_STEP}){{1,12}}(?!\w)", _path_of_file),
    Rule(rf"(?<![\w/.~@-])[\w-]{{1,60}}+(?:\.[\w-]{{1,30}}+){{0,3}}?\.(?:{_ENDINGS})\b(?![./@-]?\w)", _path),
    Rule(r"(?<=\s)(--?)([a-z][a-z-]*)(?![\w])", _option),
)
