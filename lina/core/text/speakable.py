"""Texts as a voice reads them: unknown characters, a lexicon, SSML, and the ids of each part between pauses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from lina.core.errors import TextError
from lina.core.protocols import Tokenizer
from lina.core.text.contract import read_ids
from lina.core.text.lexicon import read_lexicon
from lina.core.text.pauses import has_mark, literal, paragraph_seconds, parts
from lina.core.text.sentences import sentences_of_text, split_clauses
from lina.core.text.ssml import strip_ssml
from lina.core.text.validate import check_text


def speaking_tokenizer(
    tokenizer: Tokenizer, unknown: Literal["skip", "refuse"], lexicon: Path | None
) -> Tokenizer:
    """Apply ``synthesize.unknown`` and a lexicon to a run's tokenizer.

    With ``skip``, a tokenizer that cannot skip unknown characters is used unchanged.

    Raises:
        TextError: the lexicon cannot be read, or the tokenizer has no phonemes.
    """
    if unknown == "skip" and hasattr(tokenizer, "skipping_unknown"):
        tokenizer = tokenizer.skipping_unknown()
    if lexicon is None:
        return tokenizer
    if not hasattr(tokenizer, "with_lexicon"):
        raise TextError(
            f"{lexicon}: a lexicon needs a tokenizer of phonemes, and this run's reads letters; "
            "leave the lexicon out"
        )
    entries = read_lexicon(lexicon)
    try:
        extended: Tokenizer = tokenizer.with_lexicon(entries)
    except TextError as error:
        raise TextError(f"{lexicon}: {error}") from None
    return extended


def plain_text(text: str, tokenizer: Tokenizer) -> str:
    """Strip SSML from a text, except for its pauses and rates."""
    return strip_ssml(text, getattr(tokenizer, "reads_phonemes", False))


class SentencePart(NamedTuple):
    """A part of a sentence, synthesized on its own."""

    seconds: float
    """Silence before it."""
    rate: float | None
    """Speaking rate from here on; None: as before."""
    text: str | None
    """None if only silence or a rate is left."""


def sentence_parts(sentence: str) -> Iterator[SentencePart]:
    """Cut a sentence at its pauses and changes of the rate, and long parts at clauses.

    Raises:
        TextError: as ``lina.core.text.pauses.parts``.
    """
    for seconds, rate, part in parts(sentence):
        if not any(map(str.isalnum, part)) and has_mark(sentence):
            yield SentencePart(seconds, rate, None)
            continue
        for clauses in split_clauses(part):
            yield SentencePart(seconds, rate, clauses)
            seconds, rate = 0.0, None


def part_ids(text: str, tokenizer: Tokenizer, limit: int) -> list[int]:
    """Ids of a part without pauses; empty if the tokenizer reads nothing of it but punctuation.

    Raises:
        TextError: the part is blank, longer than ``limit`` characters, or cannot be spoken.
    """
    check_text(text, limit)
    ids = read_ids(tokenizer, literal(text))
    marks = tokenizer.flush(tokenizer.initial_state())  # of beginning and end
    labels = tokenizer.labels([one for one in ids if one not in marks])
    return ids if any(map(str.isalnum, "".join(labels))) else []


def check_speakable(text: str, tokenizer: Tokenizer, limit: int) -> None:
    """Check that a voice with this tokenizer can speak a text or SSML.

    Raises:
        TextError: a part cannot be spoken, or there is nothing to speak.
    """
    content = False
    for index, sentence in enumerate(sentences_of_text(plain_text(text, tokenizer))):
        paragraph = paragraph_seconds(sentence) if index else 0.0
        for seconds, _, part in sentence_parts(sentence):
            ids = [] if part is None else part_ids(part, tokenizer, limit)
            content = content or seconds > paragraph or bool(ids)
            paragraph = 0.0
    if not content:
        raise TextError(f"text {text[:40]!r} has nothing that this run's tokenizer reads; write words")
