"""Possible first characters and required characters of regular expressions, from their syntax trees.

A rule is tried only at its possible first characters, and only in texts with its required characters, so most of the
hundred rules never run.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_ASCII = frozenset(map(chr, range(128)))
_CLASSES = {
    name: frozenset(character for character in _ASCII if re.match(sign, character))
    for name, sign in (("DIGIT", r"\d"), ("WORD", r"\w"), ("SPACE", r"\s"))
}


@dataclass(frozen=True)
class Characters:
    """A set of characters; ``others`` adds all beyond ASCII that are not named."""

    named: frozenset[str]
    others: bool

    def __contains__(self, character: str) -> bool:
        return character in self.named or (self.others and not character.isascii())

    def union(self, more: "Characters") -> "Characters":
        return Characters(self.named | more.named, self.others or more.others)

    def intersection(self, other: "Characters") -> "Characters":
        named = frozenset(one for one in self.named | other.named if one in self and one in other)
        return Characters(named, self.others and other.others)


ALL = Characters(_ASCII, True)
_NONE = Characters(frozenset(), False)


def first_characters(pattern: re.Pattern[str]) -> Characters:
    """Possible first characters of a match of at least one character."""
    if pattern.flags & re.IGNORECASE:
        return ALL
    return _first(_tree(pattern))[0]


def needed_characters(pattern: re.Pattern[str]) -> frozenset[str]:
    """Characters of which a text with a match has at least one; empty if unknown."""
    if pattern.flags & re.IGNORECASE:
        return frozenset()
    return _needed(_tree(pattern)) or frozenset()


def _tree(pattern: re.Pattern[str]) -> Iterable[tuple[Any, Any]]:
    # The standard library has no public parser of patterns; this one has had its form since Python 3.11.
    tree: Iterable[tuple[Any, Any]] = re._parser.parse(pattern.pattern, pattern.flags)  # type: ignore[attr-defined]
    return tree


def _first(items: Iterable[tuple[Any, Any]]) -> tuple[Characters, bool]:
    """Possible first characters of a sequence, and a flag: it can be empty."""
    found, allowed = _NONE, ALL
    for kind, value in items:
        name = str(kind)
        if name == "ASSERT" and value[0] > 0:
            ahead, empty = _first(value[1])
            allowed = allowed if empty else allowed.intersection(ahead)
        elif name not in ("ASSERT", "ASSERT_NOT", "AT"):
            characters, empty = _first_of(name, value)
            found = found.union(characters.intersection(allowed))
            if not empty:
                return found, False
    return found, True


def _first_of(name: str, value: Any) -> tuple[Characters, bool]:
    if name == "LITERAL":
        return Characters(frozenset(chr(value)), False), False
    if name == "IN":
        return _class(value), False
    if name == "BRANCH":
        branches = [_first(branch) for branch in value[1]]
        found = _NONE
        for characters, _ in branches:
            found = found.union(characters)
        return found, any(empty for _, empty in branches)
    if name == "SUBPATTERN":
        return _first(value[3])
    if name == "ATOMIC_GROUP":
        return _first(value)
    if name.endswith("_REPEAT"):
        characters, empty = _first(value[2])
        return characters, empty or value[0] == 0
    return ALL, name.startswith("GROUPREF")


def _class(parts: Iterable[tuple[Any, Any]]) -> Characters:
    found = _NONE
    for kind, value in parts:
        name = str(kind)
        if name == "LITERAL":
            found = found.union(Characters(frozenset(chr(value)), False))
        elif name == "RANGE":
            low, high = value
            found = found.union(
                Characters(frozenset(map(chr, range(low, min(high, 0x10000) + 1))), high > 0x10000)
            )
        elif name == "CATEGORY" and (known := _CLASSES.get(str(value).removeprefix("CATEGORY_"))):
            found = found.union(Characters(known, True))
        else:
            return ALL
    return found


def _needed(items: Iterable[tuple[Any, Any]]) -> frozenset[str] | None:
    """The rarest set of characters of which a sequence requires one."""
    best: frozenset[str] | None = None
    for kind, value in items:
        found = _needed_by(str(kind), value)
        if found is not None and (best is None or _commonness(found) < _commonness(best)):
            best = found
    return best


def _needed_by(name: str, value: Any) -> frozenset[str] | None:
    if name == "LITERAL":
        return frozenset(chr(value))
    if name == "IN":
        characters = _class(value)
        return None if characters.others else characters.named
    if name == "BRANCH":
        branches = [_needed(branch) for branch in value[1]]
        return None if None in branches else frozenset().union(*(one for one in branches if one))
    if name == "SUBPATTERN":
        return _needed(value[3])
    if name == "ATOMIC_GROUP":
        return _needed(value)
    if name == "ASSERT":
        return _needed(value[1])
    if name.endswith("_REPEAT") and value[0] > 0:
        return _needed(value[2])
    return None


def _commonness(characters: frozenset[str]) -> int:
    return sum(20 if one.isspace() or one.islower() else 5 if one.isalnum() else 1 for one in characters)
