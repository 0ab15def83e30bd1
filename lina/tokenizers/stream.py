"""Base class of the built-in tokenizers: text is buffered until its ids are final.

A tokenizer defines segments of the text that are encoded independently. The stream's state is the text of the
unfinished segment, or None before the first piece: an immutable value that JSON can represent.
"""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence

from lina.core.errors import TextError


class SegmentStream(ABC):
    """``lina.core.protocols.Tokenizer`` from two functions of the text: ``segment_end`` and ``encode``.

    ``parallel_forward`` gives BEGIN, the ids of all segments, and END; a fold of ``step`` gives the same, because
    ``segment_end`` never depends on the text after the segment.
    """

    vocab_size: int
    begin: int
    end: int

    @abstractmethod
    def segment_end(self, text: str, start: int) -> int | None:
        """End of the first segment(s) of ``text[start:]`` if it is final, else None.

        Must be a function of ``text[start:]`` alone, and greater than ``start``.
        """

    def next_end(self, text: str, start: int, decided: int) -> int | None:
        """``segment_end``, if its answer was None for the first ``decided`` characters of ``text[start:]``.

        To be overridden where that saves reading them again, with each character of a text that comes one by one.
        """
        return self.segment_end(text, start)

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Encode complete segments."""

    @abstractmethod
    def labels(self, ids: Sequence[int]) -> list[str]:
        """A short printable label for each id, for plots."""

    def initial_state(self) -> str | None:
        return None

    def parallel_forward(self, text: str) -> list[int]:
        ids, state = self.step(text, self.initial_state())
        return ids + self.flush(state)

    def step(self, piece: str, state: str | None) -> tuple[list[int], str | None]:
        refuse_surrogates(piece)
        ids = [self.begin] if state is None else []
        text, start, decided = (state or "") + piece, 0, len(state or "")
        while (end := self.next_end(text, start, decided)) is not None:
            ids += self.encode(text[start:end])
            start, decided = end, 0
        return ids, text[start:]

    def flush(self, state: str | None) -> list[int]:
        ids = [self.begin] if state is None else []
        if state:
            ids += self.encode(state)
        return [*ids, self.end]


def refuse_surrogates(text: str) -> None:
    """Refuse lone surrogates, which no encoding can store.

    Raises:
        TextError: the text has one.
    """
    if text.isascii():
        return
    for place, character in enumerate(text):
        if "\ud800" <= character <= "\udfff":
            raise TextError(
                f"text has a lone surrogate U+{ord(character):04X} at character {place}; "
                "decode the text as UTF-8 again, or remove it"
            )


def printable(text: str) -> str:
    """Make text visible in plots: blanks as ␣, combining marks on a circle, invisible characters escaped."""
    return "".join(_printable(character) for character in text)


def _printable(character: str) -> str:
    if character == " ":
        return "␣"
    if not character.isprintable():
        return character.encode("unicode_escape").decode("ascii")
    return "◌" + character if unicodedata.combining(character) else character
