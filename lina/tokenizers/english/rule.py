"""Rules of the normalizer: patterns with functions that write their matches out in words."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lina.tokenizers.english.first_characters import first_characters, needed_characters


class Style(NamedTuple):
    """Conventions that differ between readers."""

    day_first: bool = False
    """``3/4/2024`` is the third of April, not March fourth."""
    joiner: str = " "
    """Joins spelled letters: ``F B I``."""


NEAR = 80
"""Characters of context on each side that rules look at."""

Reader = Callable[[re.Match[str], Style], str | None]


class Rule(NamedTuple):
    """A pattern, tried at the start of a word, number or sign, and its reader; None passes to the next rule."""

    pattern: re.Pattern[str]
    read: Reader


def rule(pattern: str, read: Reader) -> Rule:
    return Rule(re.compile(pattern), read)


class RuleTable:
    """Rules in order of precedence, indexed by possible first characters."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [(one, first_characters(one.pattern), needed_characters(one.pattern)) for one in rules]
        self._starting: dict[str, list[tuple[Rule, frozenset[str]]]] = {}

    def of_text(self, text: str) -> Callable[[str], Sequence[Rule]]:
        """Return a function from a character of ``text`` to the rules that may match at it."""
        present, found = frozenset(text), dict[str, list[Rule]]()

        def starting(character: str) -> Sequence[Rule]:
            if character not in found:
                possible = self._starting.get(character)
                if possible is None:
                    possible = [(one, needs) for one, first, needs in self._rules if character in first]
                    self._starting[character] = possible
                found[character] = [
                    one for one, needs in possible if not (needs and present.isdisjoint(needs))
                ]
            return found[character]

        return starting


def always(words: str) -> Reader:
    """Reader that gives the same words for every match."""
    return lambda match, style: words


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
    """Test if only closing marks follow."""
    return not match.string[match.end() : match.end() + NEAR].strip(" \t\n\"'”’)»")


def following(match: re.Match[str]) -> str:
    """The text after a match, up to ``NEAR`` characters."""
    return match.string[match.end() : match.end() + NEAR]
