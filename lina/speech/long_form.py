"""Texts of any length: sentence after sentence in one stream of audio, for as long as there are sentences.

A stream keeps a constant size from one sentence to the next: the state of the codec's decoder, and with ``carry`` the
state of the model. Nothing is kept of what has been spoken.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.audio.codec import frame_rate
from lina.core.errors import LinaError
from lina.core.generation.generate import Ending, Frame, collect
from lina.core.model.delay_lm import LMState, next_text
from lina.speech.best_of import Choice, choose
from lina.speech.lines import Line, iterate_lines, list_lines
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt
from lina.speech.result import SentenceSpeech, Spoken, decode_frames, sentence_speech, with_silence
from lina.speech.threads import limit_threads_of

if TYPE_CHECKING:
    from lina.speech.voice import Voice

OnSentence = Callable[[SentenceSpeech], object]

log = logging.getLogger("lina")


def read(
    voice: "Voice",
    sentences: Iterable[str],
    *,
    carry: bool = False,
    on_sentence: OnSentence = lambda _: None,
    **options: Any,
) -> Generator[Spoken, None, None]:
    """Speak sentences one after the other; options as for ``Voice.say``.

    Each begins as training rows begin, or with the ``prompt``, of which nothing is given out. With ``carry`` the model
    goes on in the state that the sentence before has left, and only the text is swapped, as in rows of
    ``train.consecutive`` utterances. The codec's stream goes through in both cases. Silence is put only where a text
    has a pause (``lina.core.text.pauses``), and the text before and after it is spoken as two sentences. One that has
    not ended at ``max_seconds`` is cut there, and one of which the tokenizer reads nothing is left out; both are
    logged.

    ``on_sentence`` gets each sentence when it has ended.

    Raises:
        LinaError: ``carry`` with a run that was trained on single utterances, or an option is wrong.
        TextError: a sentence cannot be spoken (after the prompt, where it begins so); of a list this is raised before
            anything is spoken, as it is where nothing of all of them can be.
    """
    if isinstance(sentences, str):
        raise LinaError("read: expects sentences one by one, and this is a single text; use stream or say")
    if carry and voice.resolved.spec.train.consecutive == 1:
        raise LinaError(
            "carry: this run was trained on single utterances and has never gone on from one text to another; "
            "leave it out, or train a run with train.consecutive: 2 or more"
        )
    asked = voice.asked(options)
    if carry and asked.best_of > 1:
        raise LinaError(
            f"carry: best_of = {asked.best_of} speaks each sentence several times, and the next one can go on from "
            "one of them only; set best_of to 1 (--best-of 1)"
        )
    if not isinstance(asked.prompt, Prompt | None):
        raise LinaError("read: several prompts; give one, which the reading begins with")
    arrange = list_lines if isinstance(sentences, Sequence) else iterate_lines
    lines = arrange(voice, sentences, asked.prompt, carry)  # type: ignore[arg-type]
    return limit_threads_of(voice.threads, _read(voice, lines, carry, asked, on_sentence))


def end_sentence(voice: "Voice", line: Line, choice: Choice) -> SentenceSpeech:
    """The speech of a line that has a script; a warning if it was cut."""
    assert line.script is not None
    if not choice.candidate.alignment.stopped:
        seconds = len(choice.said.codes) / frame_rate(voice.codec)
        log.warning("sentence %d was cut at %.1f s: %r", line.sentence + 1, seconds, line.script.text[:60])
    return sentence_speech(line.script, choice, voice.tokenizer)


def _read(
    voice: "Voice", lines: Iterable[Line], carry: bool, asked: SpeechOptions, on_sentence: OnSentence
) -> Generator[Spoken, None, None]:
    seconds = 0.0

    def counted() -> Iterator[Line]:
        nonlocal seconds
        for line in lines:
            seconds = line.seconds
            yield line

    begun = torch.zeros(0, len(voice.codec.codebook_sizes), dtype=torch.int64)
    if isinstance(asked.prompt, Prompt):
        assert isinstance(asked.prompt.audio, Tensor)
        begun = asked.prompt.audio
    frames = decode_frames(voice.codec, begun, _frames(voice, counted(), carry, asked, on_sentence))
    yield from with_silence(voice.codec, frames, lambda: seconds)


class _Said:
    """The frames of one line, and then how it ended."""

    ending: Ending

    def __init__(self, frames: Generator[Frame, None, Ending]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        self.ending = yield from self._frames


@torch.inference_mode()
def _frames(
    voice: "Voice", lines: Iterable[Line], carry: bool, asked: SpeechOptions, on_sentence: OnSentence
) -> Iterator[tuple[Int[Tensor, "1 Q"], Line]]:
    """Complete frames of codes, each with its line: as they are sampled, or with ``best_of`` once one is chosen."""
    lm = voice.language_model(asked)
    state: LMState | None = None
    for line in lines:
        if line.script is None:
            continue
        said, frames = _Said(voice.frames([line.script], asked, [(0, line.place)], state)), list[Frame]()
        for frame in said:
            frames.append(frame)
            if asked.best_of == 1 and bool(frame.complete[0]):
                yield frame.codes, line
        (choice,) = choose(collect(frames), [line.script], asked.seed)
        if asked.best_of > 1:
            yield from ((codes, line) for codes in choice.said.codes.split(1))
        on_sentence(end_sentence(voice, line, choice))
        if carry:
            conditions = voice.told(lm, [line.script.ids], asked.speaker)
            _, state, _ = lm.step(said.ending.column, said.ending.state, conditions)
            state = next_text(state, lm.initial_state(1))
