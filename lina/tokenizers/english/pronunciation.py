"""Readings fixed before the phonemizer guesses one: punctuation, heteronyms, loanwords, a word alone."""

import re
import unicodedata
from collections.abc import Callable, Sequence

from lina.tokenizers.english.heteronyms import heteronym
from lina.tokenizers.english.own_words import own_word

_VOWEL = re.compile("[AIOQWYaiuyæɐɑɒɔəɛɜɪʊʌᵊᵻ]")
_MARKS = frozenset(".,;:!?…—()")
"""Each is its own reading regardless of its tag; otherwise it would be read as part of the word beside it."""


def certain_reading(
    tokens: Sequence[str], place: int, british: bool, look_up: Callable[[str], str | None]
) -> str | None:
    """The symbols of a token, or None where the phonemizer decides; ``look_up`` is its lexicon.

    A word with accents is read as the lexicon reads it without them (façade), unless its last letter is accented, which
    is another word (pâté).
    """
    token = tokens[place]
    if token in _MARKS:
        return token
    word = token.lower()
    if found := own_word(word, british) or heteronym(tokens, place, british):
        return found
    if word == "a" and _MARKS.issuperset([*tokens[:place], *tokens[place + 1 :]]):
        return "ˈA"  # the letter: an article does not stand alone
    if token.isascii() or word.rstrip("s").endswith(("é", "ée")):
        return None
    letters = "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))
    return look_up(letters)


def with_stress(word: str) -> str:
    """The phonemes of a word that stands alone, with a primary stress, which function words have no mark for."""
    if "ˈ" in word:
        return word
    if "ˌ" in word:
        return word.replace("ˌ", "ˈ", 1)
    return _VOWEL.sub(lambda vowel: f"ˈ{vowel[0]}", word, count=1)
