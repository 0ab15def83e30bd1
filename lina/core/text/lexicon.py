"""User lexicons: words with their phonemes."""

import re
from collections.abc import Mapping
from pathlib import Path

from lina.core.errors import FileError, TextError
from lina.core.files.checks import read_bounded

LARGEST = 64_000_000
"""Bytes of a lexicon."""
FORM = "a lexicon is a text file with a word, a tab and its phonemes per line"
MAX_ENTRIES = 200_000
MAX_LINE = 500
"""Maximum characters of a line."""


def read_lexicon(path: Path) -> dict[str, str]:
    """Read a UTF-8 file with a word, a tab and its phonemes per line; ``#`` begins a line of comment.

    Raises:
        TextError: the file cannot be read, or a line has another form.
    """
    try:
        lines = read_bounded(path, LARGEST).decode("utf-8-sig").splitlines()
    except FileError as error:
        raise TextError(f"{error}; {FORM}") from None
    except OSError as error:
        raise TextError(f"{path}: cannot be read: {error.strerror}; {FORM}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{path}: is not UTF-8 text ({error.reason}); convert it first") from None
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, phonemes = line.partition("\t")
        word, phonemes = word.strip(), phonemes.strip()
        if not (word and phonemes) or len(line) > MAX_LINE:
            raise TextError(f"{path}:{number}: expected a word, a tab and its phonemes, found {line[:60]!r}")
        if entries.setdefault(word, phonemes) != phonemes:
            raise TextError(
                f"{path}:{number}: {word!r} has other phonemes already, [{entries[word]}]; keep one line"
            )
    if len(entries) > MAX_ENTRIES:
        raise TextError(f"{path}: has {len(entries)} entries, the limit is {MAX_ENTRIES}")
    return entries


class Lexicon:
    """Replacement of a lexicon's words in texts, in linear time.

    Words in lower case match any capitalization, others only their own. Words may contain blanks and signs.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self.entries = dict(entries)
        self._lowered = {word: sounds for word, sounds in entries.items() if word == word.lower()}
        # Words of letters are looked up; only those with other characters need a pattern of their own.
        self._words = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
        unusual = sorted((word for word in entries if not self._words.fullmatch(word)), key=len, reverse=True)
        self._unusual = (
            re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in unusual), re.IGNORECASE)
            if unusual
            else None
        )

    def mark(self, text: str) -> str:
        """Replace each word of the lexicon by ``[phonemes]``, except inside brackets."""
        pieces = re.split(r"(\[[^\[\]]*\])", text)
        return "".join(piece if place % 2 else self._mark(piece) for place, piece in enumerate(pieces))

    def _mark(self, text: str) -> str:
        if self._unusual is not None:
            text = self._unusual.sub(lambda match: self._sounds(match[0]) or match[0], text)
            if "[" in text:
                pieces = re.split(r"(\[[^\[\]]*\])", text)
                return "".join(
                    piece if place % 2 else self._words.sub(self._replace, piece)
                    for place, piece in enumerate(pieces)
                )
        return self._words.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        word = match[0]
        if found := self._sounds(word):
            return found
        stem, apostrophe, ending = word.replace("’", "'").rpartition("'")
        if apostrophe and ending in ("s", "S") and (found := self._sounds(stem)):
            return f"{found[:-1]}{_possessive(found[:-1])}]"
        if "-" in word:
            return "-".join(self._sounds(part) or part for part in word.split("-"))
        return word

    def _sounds(self, word: str) -> str | None:
        found = self.entries.get(word) or self._lowered.get(word.lower())
        return found and f"[ˈ{found}]" if found and not set(found) & set("ˈˌ") else found and f"[{found}]"


def _possessive(sounds: str) -> str:
    last = sounds[-1]
    return "s" if last in "ptkfθ" else "ɪz" if last in "szʃʒʧʤ" else "z"
