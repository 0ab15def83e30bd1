"""A clue to the reading of a word, and the sets of words that many clues share."""

from typing import NamedTuple


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Clue(NamedTuple):
    """A reading, and the conditions that must all hold for it; an empty set is no condition."""

    reading: str
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()
    """One of these stands within eight words."""
    earlier: frozenset[str] = frozenset()
    """One of these stands before the word in the same clause."""
    not_before: frozenset[str] = frozenset()
    not_after: frozenset[str] = frozenset()
    capital: bool | None = None
    """Capitalization of the word."""
    first: bool | None = None
    """Position at the beginning of the sentence."""


MODALS = words(
    "to will would can could should shall may might must do does did n't 'll ll let lets please wo ca cannot you'll "
    "we'll "
    "they'll i'll don't doesn't didn't won't wouldn't can't couldn't shouldn't mustn't"
)
PRONOUNS = words("i you we they he she it who that which")
DETERMINERS = words(
    "the a an this that these those my your his her its our their some any no every each all both"
)
OBJECTS = words("him her me them us you it")
PERFECT = words(
    "have has had having 've ve been be being was were is are get got 's i've we've you've they've"
)
PAST_TIMES = words(
    "yesterday ago last earlier already once then previously before when after was were had did said went came saw "
    "took made "
    "got told knew thought felt gave found left kept heard wrote sat stood ran finished"
)
HABITS = words(
    "every each always often usually sometimes never daily weekly monthly nightly regularly rarely generally seldom "
    "now "
    "tomorrow today tonight occasionally normally typically frequently mondays tuesdays wednesdays thursdays fridays "
    "saturdays sundays evenings mornings weekends days nowadays is are can if while"
)
