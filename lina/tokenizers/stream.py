"""What the built-in tokenizers share: text is held until it can be encoded for good.

A tokenizer says where the text splits into segments that are encoded on their own. The stream's state is the
text of the unfinished segment, or None before the first piece: an immutable value that JSON can hold.
"""

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Sequence

from lina.core.errors import TextError


class SegmentStream(ABC):
    """A ``lina.core.protocols.Tokenizer`` made of two functions of the text: ``segment_end`` and ``encode``.

    ``parallel_forward`` gives BEGIN, the ids of every segment, END; a fold of ``step`` gives the same because
    ``segment_end`` never depends on what comes after the segment it closes.
    """

    vocab_size: int
    begin: int
    end: int

    @abstractmethod
    def segment_end(self, text: str, start: int) -> int | None:
        """Where the first segment(s) of ``text[start:]`` end, if no further text can change that; else None.

        Must be a function of ``text[start:]`` alone, and greater than ``start``.
        """

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The ids of whole segments."""

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
        text, start = (state or "") + piece, 0
        while (end := self.segment_end(text, start)) is not None:
            ids += self.encode(text[start:end])
            start = end
        return ids, text[start:]

    def flush(self, state: str | None) -> list[int]:
        ids = [self.begin] if state is None else []
        if state:
            ids += self.encode(state)
        return [*ids, self.end]


def refuse_surrogates(text: str) -> None:
    """Raises:
    TextError: the text holds half of a surrogate pair, which no encoding can store.
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
    """Text as a plot can show it: blanks as ␣, combining marks on a circle, the invisible as an escape."""
    return "".join(_printable(character) for character in text)


def _printable(character: str) -> str:
    if character == " ":
        return "␣"
    if not character.isprintable():
        return character.encode("unicode_escape").decode("ascii")
    return "◌" + character if unicodedata.combining(character) else character
