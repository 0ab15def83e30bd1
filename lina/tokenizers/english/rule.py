"""Rules of the normalizer: patterns with functions that write their matches out in words."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from lina.tokenizers.english.first_characters import Characters, first_characters, needed_characters


class Style(NamedTuple):
    """Conventions that differ between readers."""

    day_first: bool = False
    """``3/4/2024`` is the third of April, not March fourth."""
    joiner: str = " "
    """Joins spelled letters: ``F B I``."""


NEAR = 80
"""Characters of context on each side that rules look at."""

Reader = Callable[[re.Match[str], Style], str | None]


class Rule:
    """A pattern, tried at the start of a word, number or sign, and its reader; None passes to the next rule."""

    def __init__(self, source: str, read: Reader) -> None:
        self.source, self.read = source, read

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled at the first use: a text needs a tenth of the rules."""
        return re.compile(self.source)


CHARACTERS = Path(__file__).parent / "rule_characters.json"
"""First and needed characters of each pattern, by its hash: to derive them at each start takes a tenth of a second.

``python -m benchmarks.rule_characters`` writes it. A pattern that it lacks is analyzed when the table is made.
"""


class RuleTable:
    """Rules in order of precedence, indexed by possible first characters."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        known = json.loads(CHARACTERS.read_text()) if CHARACTERS.is_file() else {}
        self._rules = [(one, *_characters(one, known)) for one in rules]
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


def pattern_hash(source: str) -> str:
    """The key of a pattern in ``CHARACTERS``."""
    return sha256(source.encode()).hexdigest()[:16]


def _characters(one: Rule, known: dict[str, Any]) -> tuple[Characters, frozenset[str]]:
    """Possible first characters and needed characters of a rule."""
    entry = known.get(pattern_hash(one.source))
    if entry is None:
        return first_characters(one.pattern), needed_characters(one.pattern)
    named, others, needed = entry
    return Characters(frozenset(named), others), frozenset(needed)


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
