"""What is synthesized in one go: the sentences of a text, cut at their pauses."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lina.core.errors import TextError
from lina.core.text.pauses import has_pause, parts
from lina.speech.prompt import Prompt
from lina.speech.request import Script
from lina.speech.text_reading import plain_text

if TYPE_CHECKING:
    from lina.speech.voice import Voice

log = logging.getLogger("lina")


class Line(NamedTuple):
    """A sentence, or the part of one between two pauses."""

    sentence: int
    """From 0."""
    place: int
    """Lines with a script before it."""
    seconds: float
    """Of silence requested in all, from the beginning up to it."""
    script: Script | None
    """None: there is nothing to speak."""


def iterate_lines(
    voice: "Voice", sentences: Iterable[str], prompt: Prompt | None, carry: bool = False
) -> Iterator[Line]:
    """The lines of sentences, at least one of each, as they are needed; codes are the audio of ``prompt``.

    Each begins with the prompt, with ``carry`` only the first. One of which the tokenizer reads nothing has no script,
    which is logged.

    Raises:
        TextError: a sentence cannot be spoken; it is named, unless it is the only one.
    """
    alone = isinstance(sentences, Sequence) and len(sentences) == 1
    place, seconds = 0, 0.0
    for number, sentence in enumerate(sentences):
        plain = plain_text(sentence, voice.tokenizer)
        try:
            for silence, part in parts(plain):
                seconds += silence
                is_silence = not part and has_pause(plain)
                script = None if is_silence else voice.script(part, prompt)
                if script is None and not is_silence and not alone:
                    log.warning(
                        "sentence %d is left out: this run's tokenizer reads nothing of %r",
                        number + 1,
                        part[:60],
                    )
                yield Line(number, place, seconds, script)
                if script is not None:
                    place, prompt = place + 1, None if carry else prompt
        except TextError as error:
            if alone:
                raise
            raise TextError(f"sentence {number + 1} ({sentence[:40]!r}): {error}") from None


def list_lines(
    voice: "Voice", sentences: Sequence[str], prompt: Prompt | None, carry: bool = False
) -> list[Line]:
    """All lines at once.

    Raises:
        TextError: as ``iterate_lines``, or none of the sentences has anything to speak.
    """
    lines = list(iterate_lines(voice, sentences, prompt, carry))
    if lines and not any(map(_has_content, lines)):
        raise TextError(
            f"text {sentences[0][:40]!r} holds nothing that this run's tokenizer reads; write words"
        )
    return lines


def count_sentences(
    voice: "Voice", sentences: Iterable[str], *, carry: bool = False, prompt: Prompt | None = None
) -> int:
    """Count sentences that are not kept, all of which can be spoken as ``Voice.read`` would.

    Raises:
        TextError: one cannot be spoken, or nothing of all of them.
    """
    asked = voice.asked({"prompt": prompt})
    assert isinstance(asked.prompt, Prompt | None)
    count, content = 0, False
    for line in iterate_lines(voice, sentences, asked.prompt, carry):
        count, content = line.sentence + 1, content or _has_content(line)
    if count and not content:
        raise TextError("holds nothing that this run's tokenizer reads; write words")
    return count


def _has_content(line: Line) -> bool:
    return line.script is not None or line.seconds > 0
