"""The tokenizer letters for lina: the letters of English, in lower case and without accents.

Ids: 0 is the end, then a blank, some punctuation and a to z. Blanks at either end are dropped and runs of them become
one. All other characters are refused by name; numbers, for example, have to be written out.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from lina.core import PluginConfig, TextError, TokenizerPlugin

SIGNS = " !',-.?abcdefghijklmnopqrstuvwxyz"
END = 0


class ReaderConfig(PluginConfig):
    punctuation: bool = True
    """Give punctuation ids of its own; false: read it as a blank."""


class ReaderState(NamedTuple):
    has_letter: bool = False
    """A character has been emitted."""
    blank: bool = False
    """A blank is pending: it is emitted if anything follows."""


class Reader:
    vocab_size = 1 + len(SIGNS)

    def __init__(self, punctuation: bool) -> None:
        self.punctuation = punctuation

    def initial_state(self) -> ReaderState:
        return ReaderState()

    def parallel_forward(self, text: str) -> list[int]:
        ids, state = self.step(text, self.initial_state())
        return ids + self.flush(state)

    def step(self, piece: str, state: ReaderState) -> tuple[list[int], ReaderState]:
        ids = []
        has_letter, blank = state
        for character in piece:
            for sign in self._signs(character):
                if sign == " ":
                    blank = has_letter
                    continue
                ids += [1 + SIGNS.index(one) for one in " " * blank + sign]
                has_letter, blank = True, False
        return ids, ReaderState(has_letter, blank)

    def flush(self, state: ReaderState) -> list[int]:
        return [END]

    def labels(self, ids: Sequence[int]) -> list[str]:
        return ["END" if index == END else SIGNS[index - 1].replace(" ", "_") for index in ids]

    def _signs(self, character: str) -> str:
        """Base letters of one character in lower case; a stream sees no further character.

        Raises:
            TextError: this tokenizer does not read the character.
        """
        if character.isspace():
            return " "
        base = unicodedata.normalize("NFKD", character.replace("\u2019", "'")).lower()
        signs = "".join(sign for sign in base if not unicodedata.combining(sign))
        if any(sign not in SIGNS for sign in signs):
            raise TextError(f"letters does not read {character!a}; write it in letters, or leave it out")
        return signs if self.punctuation else "".join(s if s.isalpha() else " " for s in signs)


class LettersTokenizer(TokenizerPlugin):
    """The plugin, which the entry point in pyproject.toml names."""

    Config = ReaderConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": ReaderConfig()}

    @classmethod
    def build(cls, *, config: ReaderConfig, trained: Any = None) -> Reader:
        return Reader(config.punctuation)
