"""Laws of tokenizers."""

import json
import random
from collections.abc import Callable
from typing import Any

from lina.core.errors import TextError
from lina.core.laws.law import Conditions, Law, Violation
from lina.core.laws.stream import SEED, seeded_build
from lina.core.plugin import Plugin
from lina.core.protocols import Tokenizer

TEXTS = (
    "a",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog; it cost $3.50 on 12/31/1999 at 10:45 p.m.",
    "  leading, trailing and   inner spaces  ",
    "tabs\tand\nlines\r\nand\x00controls\x07",
    "Mr. Smith's e-mail (smith@example.com) -- see https://example.com/?q=1&r=2 -- isn't here...",
    "na\u00efve caf\u00e9 \u00fcber stra\u00dfe \u00c6ther",
    "e\u0301 decomposed, \u00e9 composed",
    "\u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4",
    "\u0645\u0631\u062d\u0628\u0627 \u200f\u05e9\u05dc\u05d5\u05dd\u200e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "\ufeffbyte order mark, zero\u200bwidth, soft\u00adhyphen",
    "1234567890" * 5,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ALL CAPS, then camelCase and snake_case",
    "\u201cquotes\u201d \u2018and\u2019 \u2013 dashes \u2014 and \u2026",
)
"""Ordinary and difficult texts."""

CHARACTERS = tuple(
    [chr(code) for code in range(0x180)]
    + [chr(code) for code in range(0x180, 0xD800, 397)]
    + ["\ud800", "\udfff", "\ue000", "\ufeff", "\ufffd", "\ufffe", "\uffff"]
    + [chr(code) for code in range(0x10000, 0x110000, 40_009)]
    + ["\U0010ffff"]
)
"""Every character of the first blocks and a sample of all others, unpaired surrogates included."""


def frozen_json(value: Any) -> Any:
    """Convert a JSON value to a tokenizer's state: arrays become tuples."""
    return tuple(frozen_json(item) for item in value) if isinstance(value, list) else value


def pieces_give_the_whole(tokenizer: Tokenizer) -> None:
    """Folding step over any split of a text, then flush, gives the ids of the whole text."""
    chance = random.Random(SEED)
    for text in _accepted(tokenizer):
        whole = tokenizer.parallel_forward(text)
        for pieces in (list(text), [text], ["", text, ""], *(_split(text, chance) for _ in range(4))):
            found = _fold(tokenizer, pieces)
            if found != whole:
                raise Violation(f"text {text!r} in pieces {pieces!r}: expected ids {whole}, found {found}")


def step_is_pure(tokenizer: Tokenizer) -> None:
    """step depends on its arguments alone, whatever other texts are read in between."""
    texts = _accepted(tokenizer)
    for text, other in zip(texts, (*texts[1:], texts[0]), strict=True):
        half = len(text) // 2
        whole = tokenizer.parallel_forward(text)
        _, state = tokenizer.step(text[:half], tokenizer.initial_state())
        first = tokenizer.step(text[half:], state)
        owed = tokenizer.flush(first[1])
        _fold(tokenizer, [other[:1], other[1:]])
        owed_later = tokenizer.flush(first[1])
        again = tokenizer.step(text[half:], state)
        if (again, owed_later) != (first, owed):
            raise Violation(
                f"text {text!r}, with {other!r} read in between: expected {first} from step, {owed} from "
                f"flush as before, found {again} and {owed_later}"
            )
        if tokenizer.parallel_forward(text) != whole:
            raise Violation(f"text {text!r}: parallel_forward gives other ids the second time")


def state_survives_json(tokenizer: Tokenizer) -> None:
    """The state is an immutable JSON value (arrays read as tuples) that continues the stream."""
    for text in _accepted(tokenizer):
        for half in (0, 1, len(text) // 2, len(text)):
            _, state = tokenizer.step(text[:half], tokenizer.initial_state())
            where = f"state after {text[:half]!r}"
            try:
                hash(state)
                read = frozen_json(json.loads(json.dumps(state)))
            except (TypeError, ValueError) as error:
                raise Violation(
                    f"{where}: expected strings, numbers and tuples, found {state!r} ({error})"
                ) from None
            if read != state:
                raise Violation(f"{where}: expected {state!r} after JSON, found {read!r}")
            expected, found = (_finish(tokenizer, text[half:], start) for start in (state, read))
            if found != expected:
                raise Violation(f"{where}: expected ids {expected} from the state read back, found {found}")


def ids_are_in_range(tokenizer: Tokenizer) -> None:
    """Ids are whole numbers from 0 to vocab_size - 1, in lists."""
    if type(tokenizer.vocab_size) is not int or tokenizer.vocab_size < 1:
        raise Violation(f"vocab_size: expected a whole number of at least 1, found {tokenizer.vocab_size!r}")
    for text in (*_accepted(tokenizer), *CHARACTERS):
        ids = _ids_or_refusal(tokenizer, text)
        if isinstance(ids, TextError):
            continue
        if type(ids) is not list:
            raise Violation(f"text {text!r}: expected a list of ids, found {type(ids).__name__}")
        for index in ids:
            if type(index) is not int or not 0 <= index < tokenizer.vocab_size:
                raise Violation(
                    f"text {text!r}: expected ids 0 .. {tokenizer.vocab_size - 1}, found {index!r}"
                )


def every_text_is_read_or_refused(tokenizer: Tokenizer) -> None:
    """Every string is accepted, or refused by a TextError that names characters of it; both forms agree."""
    for text in ("", *TEXTS, *CHARACTERS):
        for how, read in (
            ("parallel_forward", tokenizer.parallel_forward),
            ("step", lambda t: _fold(tokenizer, [t])),
        ):
            try:
                read(text)
            except TextError as refusal:
                if text and not any(_names(str(refusal), character) for character in text):
                    raise Violation(
                        f"{how}({text!r}): the refusal must name the characters, found {str(refusal)!r}"
                    ) from None
            except Exception as error:
                raise Violation(
                    f"{how}({text!r}): expected ids or a TextError, found {type(error).__name__}: {error}"
                ) from None
        if isinstance(_ids_or_refusal(tokenizer, text), TextError) != _refused_in_pieces(tokenizer, text):
            raise Violation(
                f"text {text!r}: parallel_forward and step must both accept it, or both refuse it"
            )
    _accepted(tokenizer)


def labels_are_printable(tokenizer: Tokenizer) -> None:
    """labels gives one short printable label for each id."""
    ids = list(range(min(tokenizer.vocab_size, 4_000)))
    labels = tokenizer.labels(ids)
    if len(labels) != len(ids):
        raise Violation(f"labels of {len(ids)} ids: expected as many, found {len(labels)}")
    for index, label in zip(ids, labels, strict=True):
        if type(label) is not str or not label.isprintable() or not 1 <= len(label) <= 40:
            raise Violation(f"label of id {index}: expected 1 to 40 printable characters, found {label!r}")
    if tokenizer.labels([]) != []:
        raise Violation(f"labels of no ids: expected [], found {tokenizer.labels([])!r}")


def _accepted(tokenizer: Tokenizer) -> list[str]:
    """The texts that this tokenizer reads; plain English must be among them, or the laws would check nothing."""
    accepted = [text for text in TEXTS if not isinstance(_ids_or_refusal(tokenizer, text), TextError)]
    if not accepted:
        raise Violation(
            f"expected at least one of {len(TEXTS)} texts to be accepted, such as {TEXTS[1]!r}, found none"
        )
    return accepted


def _ids_or_refusal(tokenizer: Tokenizer, text: str) -> list[int] | TextError:
    try:
        return tokenizer.parallel_forward(text)
    except TextError as refusal:
        return refusal


def _refused_in_pieces(tokenizer: Tokenizer, text: str) -> bool:
    try:
        _fold(tokenizer, list(text))
    except TextError:
        return True
    return False


def _fold(tokenizer: Tokenizer, pieces: list[str]) -> list[int]:
    ids: list[int] = []
    state = tokenizer.initial_state()
    for piece in pieces:
        new_ids, state = tokenizer.step(piece, state)
        ids += new_ids
    return ids + tokenizer.flush(state)


def _finish(tokenizer: Tokenizer, rest: str, state: Any) -> list[int]:
    new_ids, state = tokenizer.step(rest, state)
    return new_ids + tokenizer.flush(state)


def _split(text: str, chance: random.Random) -> list[str]:
    cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(1, 6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _names(message: str, character: str) -> bool:
    escaped = ascii(character)[1:-1]
    return character in message or escaped in message or f"U+{ord(character):04X}" in message.upper()


def _tokenizer_law(test: Callable[[Tokenizer], None]) -> Law:
    def check(plugin: type[Plugin], conditions: Conditions) -> None:
        test(seeded_build(plugin))

    return Law(test.__name__, (test.__doc__ or "").splitlines()[0], check, dtypes=())


TOKENIZER_LAWS = [
    _tokenizer_law(pieces_give_the_whole),
    _tokenizer_law(step_is_pure),
    _tokenizer_law(state_survives_json),
    _tokenizer_law(ids_are_in_range),
    _tokenizer_law(every_text_is_read_or_refused),
    _tokenizer_law(labels_are_printable),
]
