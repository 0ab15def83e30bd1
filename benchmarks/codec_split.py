"""Which sentences the codec never hears in training: a function of their text alone.

Of the sentences of 3 to 25 words of a source, those with the smallest SHA-256 of their text are kept out: letters and
digits only, in lower case. All recordings of a kept sentence are, from whichever source: Kathleen reads many twice.
"""

import hashlib
import unicodedata
from collections.abc import Iterable

KEPT = {"kathleen": 40, "festvox-ru": 30, "asterisk-it": 20, "asterisk-ru": 20, "hibari": 20}
"""Known speakers: how many sentences of each training source measure the codec."""
FEWEST_WORDS, MOST_WORDS = 3, 25


def digest(text: str) -> str:
    """The same for texts that differ in case, accents' form, white space and punctuation alone."""
    letters = "".join(one for one in unicodedata.normalize("NFKC", text).casefold() if one.isalnum())
    return hashlib.sha256(letters.encode()).hexdigest()


def chosen(texts: Iterable[str], count: int) -> frozenset[str]:
    """The digests of ``count`` different sentences among ``texts``.

    Raises:
        ValueError: there are fewer.
    """
    eligible = {digest(text) for text in texts if FEWEST_WORDS <= len(text.split()) <= MOST_WORDS}
    if len(eligible) < count:
        raise ValueError(
            f"{count} sentences of {FEWEST_WORDS} to {MOST_WORDS} words wanted, {len(eligible)} found"
        )
    return frozenset(sorted(eligible)[:count])
