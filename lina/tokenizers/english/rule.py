"""A rule of the normalizer: a pattern, and what is read for it; and the tables of all rules."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from lina.tokenizers.english.first_characters import first_characters, needed_characters


class Style(NamedTuple):
    """What is a matter of taste or of the reader."""

    day_first: bool = False
    """``3/4/2024`` is the third of April, not March fourth."""
    joiner: str = " "
    """Stands between letters that are spelt: ``F B I``."""


NEAR = 80
"""Characters of context on each side that rules look at."""

Reader = Callable[[re.Match[str], Style], str | None]


class Rule(NamedTuple):
    """A pattern, tried where a word, a number or a sign begins, and what is said for it; None: another rule may."""

    pattern: re.Pattern[str]
    read: Reader


def rule(pattern: str, read: Reader) -> Rule:
    return Rule(re.compile(pattern), read)


class RuleTable:
    """Rules in their order, found by the character that stands where they are tried."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [(one, first_characters(one.pattern), needed_characters(one.pattern)) for one in rules]
        self._starting: dict[str, list[tuple[Rule, frozenset[str]]]] = {}

    def of_text(self, text: str) -> Callable[[str], Sequence[Rule]]:
        """A function from the character at a place in ``text`` to the rules that may match there."""
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
    return not match.string[match.end() : match.end() + NEAR].strip(" \t\n\"'”’)»")


def following(match: re.Match[str]) -> str:
    """The text after a match, as far as rules look."""
    return match.string[match.end() : match.end() + NEAR]
