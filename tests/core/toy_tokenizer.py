"""An honest tokenizer, small enough to read: letters and a mark after each word, given as words end."""

from collections.abc import Sequence
from typing import Any

from lina.core.errors import TextError
from lina.core.plugin import TokenizerPlugin


class Letters:
    """Ids: 0 the mark after a word, 1 to 26 letters of either case, 27 any other. Refuses control signs."""

    vocab_size = 28

    def initial_state(self) -> Any:
        return ("", 0)

    def parallel_forward(self, text: str) -> list[int]:
        ids, state = self.step(text, self.initial_state())
        return ids + self.flush(state)

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        word, words = state
        for character in piece:
            if not character.isprintable() and not character.isspace():
                raise TextError(f"cannot read {character!a}; remove it")
        *ended, word = (word + piece).split(" ")
        return [index for done in ended for index in self.word(done)], (word, words + len(ended))

    def flush(self, state: Any) -> list[int]:
        return self.word(state[0])

    def word(self, word: str) -> list[int]:
        lower = [character.lower() for character in word]
        return [*(ord(c) - 96 if "a" <= c <= "z" and len(c) == 1 else 27 for c in lower), 0]

    def labels(self, ids: Sequence[int]) -> list[str]:
        return ["_" if i == 0 else "?" if i == 27 else chr(96 + i) for i in ids]


class ToyTokenizer(TokenizerPlugin):
    Tokenizer: type[Letters] = Letters

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": {}}

    @classmethod
    def build(cls, *, config: Any, trained: Any = None) -> Letters:
        return cls.Tokenizer()
