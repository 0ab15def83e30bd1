"""Which sentences the codec never hears in training: a function of their text alone.

Of the sentences of 3 to 25 words of a source, those with the smallest SHA-256 of their text are kept out: letters and
digits only, in lower case. With a sentence goes every recording, from whichever source, whose text shares most of its
words: Kathleen reads many sentences twice, sometimes under two spellings, and prompts differ in a digit.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

KEPT = {"kathleen": 40, "festvox-ru": 30, "asterisk-it": 20, "asterisk-ru": 20, "hibari": 20}
"""Known speakers: how many sentences of each training source measure the codec."""
FEWEST_WORDS, MOST_WORDS = 3, 25
ALIKE = 0.7
"""Of the different words of two texts, the part that both have, from which on they count as one sentence."""


def digest(text: str) -> str:
    """The same for texts that differ in case, accents' form, white space and punctuation alone."""
    return hashlib.sha256("".join(_words(text)).encode()).hexdigest()


def chosen(texts: Iterable[str], count: int) -> list[str]:
    """``count`` different sentences among ``texts``: one spelling of each, smallest digest first.

    Raises:
        ValueError: there are fewer.
    """
    eligible = {digest(text): text for text in texts if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS}
    if len(eligible) < count:
        raise ValueError(
            f"{count} sentences of {FEWEST_WORDS} to {MOST_WORDS} words wanted, {len(eligible)} found"
        )
    return [eligible[key] for key in sorted(eligible)[:count]]


class KeptOut:
    """``text in KeptOut(sentences)``: whether ``text`` is one of them, or nearly."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self._words = [frozenset(_words(text)) for text in sentences]

    def __contains__(self, text: str) -> bool:
        words = frozenset(_words(text))
        return any(len(words & kept) >= ALIKE * len(words | kept) for kept in self._words)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())
