"""Segments: sentences of a text, cut at their pauses; the unit of synthesis."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lina.core.errors import TextError
from lina.core.text.pauses import PARAGRAPH_PAUSE, paragraph_seconds
from lina.core.text.speakable import plain_text, sentence_parts
from lina.speech.prompt import Prompt

if TYPE_CHECKING:  # a voice of graphs has segments, and no torch
    from lina.core.protocols import Tokenizer
    from lina.speech.options import SpeechOptions
    from lina.speech.synthesis_input import SynthesisInput

log = logging.getLogger("lina")


class Reader(Protocol):
    """The part of a voice that reads texts."""

    tokenizer: Tokenizer

    def resolve_options(self, options: dict[str, Any]) -> SpeechOptions: ...

    def input(self, text: str, prompt: Prompt | None = None) -> SynthesisInput | None: ...


class Segment(NamedTuple):
    """A sentence, or a part of one: between two pauses, or a few clauses of a long one."""

    sentence: int
    """Index of its sentence."""
    number: int
    """Index among the segments with input."""
    seconds: float
    """Total silence requested before it, from the beginning of the text."""
    input: SynthesisInput | None
    """None if there is nothing to speak."""
    rate: float = 1.0
    """Speaking rate; 1 is the voice's own."""
    has_pause: bool = False
    """The text sets a pause before it, besides those between paragraphs."""


def iterate_segments(
    voice: Reader, sentences: Iterable[str], prompt: Prompt | None, carry: bool = False
) -> Iterator[Segment]:
    """Yield the segments of sentences lazily, at least one per sentence.

    ``prompt`` (its audio encoded) precedes each, with ``carry`` only the first. A segment of which the tokenizer reads
    nothing has no input, which is logged.

    Raises:
        TextError: a sentence cannot be spoken; the message names it unless it is the only one.
    """
    single = isinstance(sentences, Sequence) and len(sentences) == 1
    count, seconds, rate = 0, 0.0, 1.0
    for sentence_index, sentence in enumerate(sentences):
        plain = plain_text(sentence, voice.tokenizer)
        paragraph = paragraph_seconds(sentence) if sentence_index else 0.0
        try:
            for silence, change, part in sentence_parts(plain):
                seconds, rate = seconds + silence, change or rate
                item = None if part is None else voice.input(part, prompt)
                if item is None and part is not None and not single:
                    log.warning(
                        "sentence %d is left out: this run's tokenizer reads nothing of %r",
                        sentence_index + 1,
                        part[:60],
                    )
                yield Segment(sentence_index, count, seconds, item, rate, silence > paragraph)
                paragraph = 0.0
                if item is not None:
                    count, prompt = count + 1, None if carry else prompt
        except TextError as error:
            if single:
                raise
            near = sentence.removeprefix(f"{PARAGRAPH_PAUSE} ")[:40]
            raise TextError(f"sentence {sentence_index + 1} ({near!r}): {error}") from None


def whole_segment(voice: Reader, text: str, prompt: Prompt | None) -> Segment:
    """A text as one segment, however many sentences it has, as an utterance in training is.

    Raises:
        TextError: it cannot be spoken, or has nothing to speak.
    """
    item = voice.input(text, prompt)
    if item is None:
        raise TextError(f"text {text[:40]!r} has nothing that this run's tokenizer reads; write words")
    return Segment(0, 0, 0.0, item)


def list_segments(
    voice: Reader, sentences: Sequence[str], prompt: Prompt | None, carry: bool = False
) -> list[Segment]:
    """List all segments.

    Raises:
        TextError: as ``iterate_segments``, or if no sentence has anything to speak.
    """
    segments = list(iterate_segments(voice, sentences, prompt, carry))
    if segments and not any(map(_has_content, segments)):
        raise TextError(
            f"text {sentences[0][:40]!r} has nothing that this run's tokenizer reads; write words"
        )
    return segments


def count_sentences(
    voice: Reader, sentences: Iterable[str], *, carry: bool = False, prompt: Prompt | None = None
) -> int:
    """Count sentences without keeping them, and check that ``Voice.read`` can speak each.

    Raises:
        TextError: a sentence cannot be spoken, or none has anything to speak.
    """
    options = voice.resolve_options({"prompt": prompt})
    assert isinstance(options.prompt, Prompt | None)
    count, content = 0, False
    for segment in iterate_segments(voice, sentences, options.prompt, carry):
        count, content = segment.sentence + 1, content or _has_content(segment)
    if count and not content:
        raise TextError("has nothing that this run's tokenizer reads; write words")
    return count


def _has_content(segment: Segment) -> bool:
    return segment.input is not None or segment.has_pause
