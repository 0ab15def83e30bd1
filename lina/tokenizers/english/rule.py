"""What a rule of the normaliser is: where it looks, and what it says instead."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Style(NamedTuple):
    """What is a matter of taste or of the reader."""

    day_first: bool = False
    """``3/4/2024`` is the third of April, not March fourth."""
    joiner: str = " "
    """Stands between letters that are spelt: ``F B I``."""


Reader = Callable[[re.Match[str], Style], str | None]


class Rule(NamedTuple):
    """A pattern, tried where a word, a number or a sign begins, and what is said for it; None: another rule may."""

    pattern: re.Pattern[str]
    read: Reader


def rule(pattern: str, read: Reader) -> Rule:
    return Rule(re.compile(pattern), read)


def always(said: str) -> Reader:
    """What is said whatever matched."""
    return lambda match, style: said


def one_of(words: Iterable[str]) -> str:
    """A pattern for any of these words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def spell(letters: str, style: Style) -> str:
    return style.joiner.join(letter.upper() for letter in letters if letter.isalnum())


def before(match: re.Match[str]) -> str:
    """The last word before a match, with the marks around it; may be empty."""
    words = match.string[max(0, match.start() - 40) : match.start()].split()
    return words[-1] if words else ""


def ends_sentence(match: re.Match[str]) -> bool:
    """Whether nothing but closing marks follows."""
    return not match.string[match.end() :].strip(" \t\n\"'”’)»")
