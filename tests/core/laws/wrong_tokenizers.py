"""Ten tokenizers with mistakes: each with the law that names it, and its message. The most different of twenty."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from lina.core import PluginConfig, TextError, TokenizerPlugin
from lina.core.plugin import Plugin


class Characters:
    """Right: code points below 10,000, in lower case; the state is the pending text of an unfinished word."""

    vocab_size = 10_000

    def initial_state(self) -> Any:
        return ""

    def parallel_forward(self, text: str) -> list[int]:
        ids, state = self.step(text, self.initial_state())
        return ids + self.flush(state)

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        *ready, pending = (state + piece).split(" ")
        return [index for word in ready for index in (*self.word(word), 32)], pending

    def flush(self, state: Any) -> list[int]:
        return self.word(state)

    def word(self, word: str) -> list[int]:
        return [self.id_of(character) for character in word]

    def id_of(self, character: str) -> int:
        if ord(character) >= self.vocab_size:
            raise TextError(f"cannot read {character!a}")
        return ord(character)

    def labels(self, ids: Sequence[int]) -> list[str]:
        return [f"U+{index:04X}" for index in ids]


class NumpyIds(Characters):
    def flush(self, state: Any) -> list[int]:
        return list(np.array(super().flush(state), dtype=np.int64))


class ComposesTheWhole(Characters):
    """Accents are composed in a whole text; in pieces a letter and its accent may come apart."""

    def parallel_forward(self, text: str) -> list[int]:
        return super().parallel_forward(unicodedata.normalize("NFC", text))


class DictionaryState(Characters):
    def initial_state(self) -> Any:
        return {"pending": ""}

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, pending = super().step(piece, state["pending"])
        return ids, {"pending": pending}

    def flush(self, state: Any) -> list[int]:
        return super().flush(state["pending"])


class PendingOnItself(Characters):
    """The unfinished word is kept on the tokenizer."""

    pending = ""

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]:
        ids, self.pending = super().step(piece, state)
        return ids, self.pending

    def flush(self, state: Any) -> list[int]:
        return super().flush(self.pending if state else "")


class HashedWords(Characters):
    """The trick of hashed vocabularies, by a hash that each process salts differently."""

    def word(self, word: str) -> list[int]:
        super().word(word)
        return [hash(word) % 5_000] if word else []


class SkipsInSilence(Characters):
    def word(self, word: str) -> list[int]:
        return [ord(character) for character in word if ord(character) < self.vocab_size]


class ContextOf512(Characters):
    """Cut off for a model of limited context, where nobody sees it."""

    def parallel_forward(self, text: str) -> list[int]:
        return super().parallel_forward(text)[:512]

    def flush(self, state: Any) -> list[int]:
        return super().flush(state)


class TableWithoutTheRest(Characters):
    """A dictionary lookup that fails by itself."""

    table: ClassVar = {chr(code): code for code in range(256)}

    def id_of(self, character: str) -> int:
        return self.table[character]


class LabelsOfRuns(Characters):
    """A repeated id is shown by a dot."""

    def labels(self, ids: Sequence[int]) -> list[str]:
        labels = super().labels(ids)
        return [
            "." if place and ids[place - 1] == ids[place] else label for place, label in enumerate(labels)
        ]


class LabelsOfDots(Characters):
    def labels(self, ids: Sequence[int]) -> list[str]:
        return ["·" for _ in ids]


class SkipsWithQuestionMarks(Characters):
    """``skipping_unknown`` reads other ids than before for texts that need no skipping."""

    def skipping_unknown(self) -> Characters:
        class Skipping(Characters):
            def id_of(self, character: str) -> int:
                return ord(character) if ord(character) < 128 else ord("?")

        return Skipping()


class Wrong(TokenizerPlugin):
    Tokenizer: type[Characters] = Characters

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": PluginConfig()}

    @classmethod
    def build(cls, *, config: Any, trained: Any = None) -> Characters:
        return cls.Tokenizer()


class VocabularyOfASet(Wrong):
    """A vocabulary in the order of a set, as a tuple of bytes: no JSON."""

    @classmethod
    def train(cls, texts: Iterable[str], *, config: Any) -> Any:
        return [word.encode() for text in texts for word in text.split()]


def plugin(tokenizer: type[Characters]) -> type[Plugin]:
    return type(tokenizer.__name__, (Wrong,), {"Tokenizer": tokenizer})


RIGHT = plugin(Characters)
WRONG_TOKENIZERS: list[tuple[str, type[Plugin], str]] = [
    ("ids_are_in_range", plugin(NumpyIds), r"text 'a': expected ids 0 .. 9999, found .*\(int64\) at 0"),
    ("pieces_give_the_whole", plugin(ComposesTheWhole), "first at 0: expected 233, found 101"),
    ("state_survives_json", plugin(DictionaryState), "state after '': expected strings, numbers and tuples"),
    ("step_is_pure", plugin(PendingOnItself), "with .* read in between"),
    ("ids_need_no_hash", plugin(HashedWords), "first at 0: expected"),
    ("no_letter_is_dropped", plugin(SkipsInSilence), r"gives \[\], the ids of an empty text"),
    ("pieces_give_the_whole", plugin(ContextOf512), "characters one by one: first at 512: expected None"),
    (
        "every_text_is_read_or_refused",
        plugin(TableWithoutTheRest),
        r"expected ids or a TextError, found KeyError",
    ),
    (
        "labels_are_printable",
        plugin(LabelsOfRuns),
        r"label of id 0: 'U\+0000' among others, \['U\+0000', '.'\]",
    ),
    ("labels_are_printable", plugin(LabelsOfDots), "found none: no text would be spoken"),
    (
        "skipping_leaves_out_what_is_refused",
        plugin(SkipsWithQuestionMarks),
        "which is accepted, gives other ids",
    ),
    ("training_survives_json", VocabularyOfASet, "train returned list, which is no JSON value"),
]
