"""Laws of tokenizers."""

import builtins
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from lina.core.errors import TextError
from lina.core.laws.law import Conditions, Law, NotApplicable, Violation, in_brief
from lina.core.laws.stream import SEED, seeded_build
from lina.core.laws.tokenizer_labels import labels_are_printable
from lina.core.laws.tokenizer_texts import CHARACTERS, TEXTS
from lina.core.laws.tokenizer_training import _training_law
from lina.core.plugin import Plugin
from lina.core.protocols import Tokenizer


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
                raise Violation(
                    f"text {text!r} in pieces {pieces!r}: expected ids {whole}, found {found}; {_first(whole, found)}"
                )
    text = _long_text(tokenizer)
    whole, found = tokenizer.parallel_forward(text), _fold(tokenizer, list(text))
    if found != whole:
        raise Violation(f"{len(text):,} characters one by one: {_first(whole, found)}")


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
    """Ids are whole numbers from 0 to vocab_size - 1, in lists, from step and flush too."""
    if type(tokenizer.vocab_size) is not int or tokenizer.vocab_size < 1:
        raise Violation(f"vocab_size: expected a whole number of at least 1, found {tokenizer.vocab_size!r}")
    for text in (*_accepted(tokenizer), *CHARACTERS):
        try:
            parts = {"parallel_forward": tokenizer.parallel_forward(text)}
            parts["step"], state = tokenizer.step(text, tokenizer.initial_state())
            parts["flush"] = tokenizer.flush(state)
        except TextError:
            continue
        for name, ids in parts.items():
            if type(ids) is not list:
                raise Violation(f"{name}, text {text!r}: expected a list of ids, found {type(ids).__name__}")
            for place, index in enumerate(ids):
                if type(index) is not int or not 0 <= index < tokenizer.vocab_size:
                    raise Violation(
                        f"{name}, text {text!r}: expected ids 0 .. {tokenizer.vocab_size - 1}, found {index!r} "
                        f"({type(index).__name__}) at {place}"
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


def no_letter_is_dropped(tokenizer: Tokenizer) -> None:
    """A letter or digit is read or refused; its ids are not those of nothing."""
    try:
        nothing = tokenizer.parallel_forward("")
    except TextError:
        nothing = []
    for character in CHARACTERS:
        ids = _ids_or_refusal(tokenizer, character)
        if (
            (character.isalpha() or character.isdecimal())
            and not isinstance(ids, TextError)
            and ids in (nothing, [])
        ):
            raise Violation(
                f"{character!r} gives {ids}, the ids of an empty text: it would be missing in the speech without a "
                "word; refuse it by a TextError that names it"
            )


def long_texts_are_read_whole(tokenizer: Tokenizer) -> None:
    """A text of some thousand characters gives ids to its end."""
    text = _long_text(tokenizer)
    half, whole = (tokenizer.parallel_forward(part) for part in (text[: len(text) // 2], text))
    if len(whole) < 1.5 * len(half):
        raise Violation(
            f"{len(text):,} characters give {len(whole)} ids, their first half {len(half)}: expected about twice as "
            f"many; is the text truncated? The first id that is missing is at {len(whole)}"
        )


def _long_text(tokenizer: Tokenizer) -> str:
    """About 4,000 characters that are read, two equal halves."""
    accepted = _accepted(tokenizer)
    sentence = next((text for text in accepted if len(text) > 20), accepted[0]) + " "
    return sentence * (2 * (1 + 2_000 // len(sentence)))


def ids_need_no_hash(tokenizer: Tokenizer) -> None:
    """Ids do not come from hash(), which differs from process to process."""
    original = builtins.hash
    for text in _accepted(tokenizer)[:4]:
        expected = tokenizer.parallel_forward(text)
        try:
            builtins.hash = lambda value: original(value) ^ (0x5BD1E995 if type(value) in (str, bytes) else 0)
            found = tokenizer.parallel_forward(text)
        finally:
            builtins.hash = original
        if found != expected:
            raise Violation(
                f"text {text!r}: ids come from hash(), which is another in each process, so that a trained model "
                f"would read other words; {_first(expected, found)} under another hash; use zlib.crc32 or a table"
            )


def skipping_leaves_out_what_is_refused(tokenizer: Tokenizer) -> None:
    """skipping_unknown(), where offered, reads every text; accepted ones as before."""
    skip = getattr(tokenizer, "skipping_unknown", None)
    if skip is None:
        raise NotApplicable("it offers no skipping_unknown")
    skipping = skip()
    accepted = set(_accepted(tokenizer))
    with _silence():
        for text in TEXTS:
            try:
                ids = skipping.parallel_forward(text)
            except Exception as error:
                raise Violation(f"skipping_unknown(): text {text!r}: {in_brief(error)}") from None
            if text in accepted and ids != tokenizer.parallel_forward(text):
                raise Violation(
                    f"skipping_unknown(): text {text!r}, which is accepted, gives other ids: {ids}"
                )


@contextmanager
def _silence() -> Iterator[None]:
    """Without warnings about characters that are left out."""
    log = logging.getLogger("lina")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def _first(expected: list[int], found: list[int]) -> str:
    """The first place of a difference."""
    pairs = list(zip_longest(expected, found))
    place = next(i for i, (one, other) in enumerate(pairs) if one != other)
    return f"first at {place}: expected {pairs[place][0]}, found {pairs[place][1]}"


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
    _tokenizer_law(every_text_is_read_or_refused),
    _tokenizer_law(ids_are_in_range),
    _tokenizer_law(step_is_pure),
    _tokenizer_law(state_survives_json),
    _tokenizer_law(pieces_give_the_whole),
    _tokenizer_law(no_letter_is_dropped),
    _tokenizer_law(long_texts_are_read_whole),
    _tokenizer_law(ids_need_no_hash),
    _tokenizer_law(labels_are_printable),
    _tokenizer_law(skipping_leaves_out_what_is_refused),
    _training_law(),
]
