"""Long texts: sentence after sentence in one stream of audio, for as long as there are sentences.

What is kept from one to the next has a constant size: the state of the codec's decoder, the random numbers, and with
``carry`` the state of the model. Nothing is kept of what has been said.
"""

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.codec import frame_rate
from lina.core.errors import LinaError, TextError
from lina.core.generate import Ending, Frame, generate
from lina.core.lm import LMState, next_text
from lina.core.pauses import Parts, parts
from lina.core.prompt import Prompt
from lina.core.sampling import row_generators
from lina.core.speech import decode_frames
from lina.core.speech_options import SpeechOptions

if TYPE_CHECKING:
    from lina.core.voice import Voice

log = logging.getLogger("lina")


class Spoken(NamedTuple):
    """A frame of audio, or silence that is no longer than one."""

    audio: Float[Tensor, "C n"]
    sentence: int
    """Which sentence it is of, from 0."""


def read(
    voice: "Voice",
    sentences: Iterable[str],
    *,
    carry: bool = False,
    **options: Any,
) -> Iterator[Spoken]:
    """Speak sentences one after the other; options as for ``Voice.say``, ``max_seconds`` being that of a sentence.

    Each begins as training rows begin, or with the ``prompt``, of which nothing is given out. With ``carry`` the model
    goes on in the state that the sentence before has left, and only the text is swapped, as in rows of
    ``train.consecutive`` utterances. The codec's stream goes through in both cases. Silence is put only where a text
    has a pause (``lina.core.pauses``), and what is before and after it is said as two sentences are. One that has not
    ended at ``max_seconds`` is cut there, which is logged.

    Raises:
        LinaError: ``carry`` with a run that was trained on single utterances, or an option is wrong.
        TextError: a sentence cannot be spoken (after the prompt, where it begins so); of a list this is said before
            anything is spoken.
    """
    if isinstance(sentences, str):
        raise LinaError(
            "read: wants sentences one by one, and this is one text; cut it with lina.core.text.split_sentences"
        )
    consecutive = voice.resolved.spec.train.consecutive
    if carry and consecutive == 1:
        raise LinaError(
            "carry: this run was trained on single utterances and has never gone on from one text to another; "
            "leave it out, or train a run with train.consecutive: 2 or more"
        )
    asked = voice.asked(options)
    if asked.best_of > 1:
        raise LinaError(
            f"read: best_of = {asked.best_of} chooses among whole speeches; say best_of 1 (--best-of 1) to read on"
        )
    if not isinstance(asked.prompt, Prompt | None):
        raise LinaError("read: several prompts; give one, which the reading begins with")
    if isinstance(sentences, Sequence):
        check(voice, sentences, carry=carry, prompt=asked.prompt)
    begun = torch.zeros(0, len(voice.codec.codebook_sizes), dtype=torch.int64)
    if asked.prompt is not None:
        assert isinstance(asked.prompt.audio, Tensor)
        begun = asked.prompt.audio
    cut = Parts(sentences)
    frames = decode_frames(voice.codec, begun, _frames(voice, cut, carry, asked))
    return _with_silence(voice, frames, cut)


def _with_silence(
    voice: "Voice", frames: Iterator[tuple[Float[Tensor, "C hop"], tuple[int, float]]], cut: Parts
) -> Iterator[Spoken]:
    """Each frame comes with its sentence and the seconds of silence asked for before it, from the beginning on."""
    given, number = 0, 0

    def silence(seconds: float) -> Iterator[Spoken]:
        nonlocal given
        missing = round(seconds * voice.sample_rate) - given
        given += missing
        if missing > 0:
            pause = torch.zeros(voice.codec.channels, missing)
            yield from (Spoken(piece, number) for piece in pause.split(voice.codec.hop, dim=1))

    for audio, (number, seconds) in frames:
        yield from silence(seconds)
        yield Spoken(audio, number)
    yield from silence(cut.seconds)


def check(
    voice: "Voice", sentences: Iterable[str], *, carry: bool = False, prompt: Prompt | None = None
) -> int:
    """How many sentences there are, all of which can be spoken as ``read`` would.

    Raises:
        TextError: one cannot be; it is named.
    """
    count, first = 0, True
    for count, sentence in enumerate(sentences, start=1):
        try:
            for _, said in parts(sentence):
                if said:
                    voice.ids(said, prompt if first or not carry else None)
                    first = False
        except TextError as error:
            raise TextError(f"sentence {count} ({sentence[:40]!r}): {error}") from None
    return count


class _Said:
    """What ``generate`` yields, and then how it ended."""

    ending: Ending

    def __init__(self, frames: Generator[Frame, None, Ending]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Frame]:
        self.ending = yield from self._frames


@torch.inference_mode()
def _frames(
    voice: "Voice", cut: Parts, carry: bool, asked: SpeechOptions
) -> Iterator[tuple[Int[Tensor, "1 Q"], tuple[int, float]]]:
    """Complete frames of codes, each with the number of its sentence and the silence asked for until then."""
    lm, generators = voice.language_model(asked), row_generators(asked.seed, 1)
    state: LMState | None = None
    rate = frame_rate(voice.codec)
    for number, sentence in cut:
        (script,) = voice.scripts([sentence], asked)
        conditions = voice.told(lm, [script.ids], asked.speaker)
        frames = generate(
            lm,
            conditions,
            sampling=asked.sampling,
            max_frames=voice.longest(asked),
            prompt=script.prompt[None],
            generators=generators,
            state=state,
            window=asked.window(rate),
            begin=torch.tensor([script.start]),
            repetition=asked.repetition,
        )
        said, stopped, count = _Said(frames), False, 0
        for frame in said:
            stopped = bool(frame.stopped[0])
            if bool(frame.complete[0]):
                count += 1
                yield frame.codes, (number, cut.seconds)
        if not stopped:
            log.warning("sentence %d was cut at %.1f s: %r", number + 1, count / rate, sentence[:60])
        if carry:
            _, state, _ = lm.step(said.ending.column, said.ending.state, conditions)
            state = next_text(state, lm.initial_state(1))
            asked = replace(asked, prompt=None)  # it is in the state
