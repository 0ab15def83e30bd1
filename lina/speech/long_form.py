"""Long-form synthesis: sentences one after the other as a single stream of audio.

Between sentences only state of constant size is kept: that of the codec's decoder, and with ``carry`` that of the
model.
"""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from lina.core.audio.codec import frame_rate
from lina.core.errors import LinaError
from lina.core.model.delay_lm import LMState, next_text
from lina.core.process.threads import limit_threads_of
from lina.engine.engine import Engine
from lina.engine.request import Request
from lina.engine.stream import Stream
from lina.speech.best_of import Choice, select_best
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt
from lina.speech.result import SentenceSpeech, sentence_speech
from lina.speech.segments import Segment, iterate_segments, list_segments
from lina.speech.shaping import AudioChunk, FrameTag, shape_frames
from lina.speech.synthesizer import Synthesizer

BLOCKS_AHEAD = 6
"""Blocks of steps for a GPU, about 7 ms, while the next sentence is read."""

OnSentence = Callable[[SentenceSpeech], object]

log = logging.getLogger("lina")


def read(
    voice: Synthesizer,
    sentences: Iterable[str],
    *,
    carry: bool = False,
    on_sentence: OnSentence = lambda _: None,
    **options: Any,
) -> Generator[AudioChunk, None, None]:
    """Synthesize sentences one after the other; options as for ``Voice.say``.

    Each starts from the initial state, or after ``prompt``, whose audio is not part of the output. With ``carry`` the
    model continues from the state after the previous sentence, and only the text is replaced, as in rows of
    ``train.consecutive`` utterances. The codec decodes all sentences as one stream. Silence is inserted only at the
    pauses of a text (``lina.core.text.pauses``); the text before and after a pause is synthesized as two sentences. A
    sentence that has not ended at ``max_seconds`` is cut and fades out, and one of which the tokenizer reads nothing is
    left out; both are logged.

    ``on_sentence`` is called with each sentence as it ends.

    Raises:
        LinaError: an option is wrong, or ``carry`` is set for a run trained on single utterances.
        TextError: a sentence cannot be spoken (after the prompt, if it has one). For a list this is raised before
            synthesis starts, and also if no sentence has anything to speak.
    """
    if isinstance(sentences, str):
        raise LinaError("read: expects an iterable of sentences, got a single text; use stream or say")
    if carry and voice.resolved.spec.train.consecutive == 1:
        raise LinaError(
            "carry: this run was trained on single utterances and cannot continue from one text to the next; "
            "leave it out, or train a run with train.consecutive: 2 or more"
        )
    resolved = voice.resolve_options(options)
    if carry and resolved.best_of > 1:
        raise LinaError(
            f"carry: best_of = {resolved.best_of} synthesizes each sentence several times, but the next sentence can "
            "continue from one of them only; set best_of to 1 (--best-of 1)"
        )
    if not isinstance(resolved.prompt, Prompt | None):
        raise LinaError("read: got several prompts; pass a single one")
    cut = list_segments if isinstance(sentences, Sequence) else iterate_segments
    segments = cut(voice, sentences, resolved.prompt, carry)  # type: ignore[arg-type]
    return limit_threads_of(voice.threads, _read(voice, segments, carry, resolved, on_sentence))


def end_sentence(voice: Synthesizer, segment: Segment, choice: Choice) -> SentenceSpeech:
    """Build the result of a segment, and log a warning if it was cut."""
    assert segment.input is not None
    if not choice.candidate.alignment.stopped:
        seconds = len(choice.row.codes) / frame_rate(voice.codec)
        log.warning(
            "sentence %d was cut at %.1f s: %r", segment.sentence + 1, seconds, segment.input.text[:60]
        )
    return sentence_speech(segment.input, choice, voice.tokenizer)


def _read(
    voice: Synthesizer,
    segments: Iterable[Segment],
    carry: bool,
    options: SpeechOptions,
    on_sentence: OnSentence,
) -> Generator[AudioChunk, None, None]:
    seconds = 0.0

    def count_silence() -> Iterator[Segment]:
        nonlocal seconds
        for segment in segments:
            seconds = segment.seconds
            yield segment

    ahead = isinstance(segments, list) and not carry
    frames = _frames(voice, count_silence(), carry, options, on_sentence, ahead)
    yield from shape_frames(voice.codec, frames, lambda: seconds, torch.from_numpy)


@torch.no_grad()
def _frames(
    voice: Synthesizer,
    segments: Iterable[Segment],
    carry: bool,
    options: SpeechOptions,
    on_sentence: OnSentence,
    ahead: bool,
) -> Iterator[tuple[Float[Tensor, "C hop"], FrameTag]]:
    """Yield frames of audio with their tags: as sampled, or with ``best_of`` after selection.

    ``ahead``: the next segment is there, and may be read, and decoded on a GPU, while one is spoken.
    """
    lm, hop = voice.language_model(options), voice.codec.hop
    prompt = options.prompt.audio if isinstance(options.prompt, Prompt) else None
    assert prompt is None or isinstance(prompt, Tensor)
    state: LMState | None = None
    order, sentences = _Order(), _Sentences(voice, segments, carry, options)
    waiting: Stream | None = None
    slots = voice.engines.slots_of_text(options.best_of, carry)
    with voice.engines.borrow(options.guidance, slots, audio=True) as engine:
        audio = engine.open_audio(prompt, continues=True)
        try:
            while (sentence := sentences.next(state)) is not None:
                segment, requests = sentence
                assert segment.input is not None
                if options.best_of == 1:
                    stream = waiting or _submit(engine, sentence, order)
                    engine.attach_audio(stream, audio)
                    waiting, waits = None, ahead
                    for chunk in stream.audio():
                        if waits and engine.issue_ahead(BLOCKS_AHEAD):
                            with engine.beside():
                                following, waits = sentences.prepare(), False
                                if following is not None:
                                    waiting = _submit(engine, following, order)
                                    engine.prefill(waiting)
                        yield from order.tagged(chunk.split(hop, dim=1))
                    yield from order.tagged([])
                    results = [stream.result()]
                else:
                    results = [one.result() for one in [engine.submit(request) for request in requests]]
                choice = select_best(results, segment.input, options.seed)
                if options.best_of > 1:
                    order.begin(segment, _Whole(len(choice.row.codes), choice.row.stopped))
                    for chunk in engine.decode_audio(audio, choice.row.codes):
                        yield from order.tagged(chunk.split(hop, dim=1))
                on_sentence(end_sentence(voice, segment, choice))
                if carry:
                    assert results[0].state is not None
                    state = next_text(results[0].state, lm.initial_state(1))
            for chunk in engine.finish_audio(audio):
                yield from order.tagged(chunk.split(hop, dim=1))
        finally:
            if waiting is not None:
                waiting.close()
            engine.close_audio(audio)


def _submit(engine: Engine, sentence: tuple[Segment, list[Request]], order: "_Order") -> Stream:
    segment, requests = sentence
    stream = engine.submit(requests[0])
    order.begin(segment, stream)
    return stream


class _Sentences:
    """Segments with something to speak, and their requests; the next ones may be built before they are needed."""

    def __init__(
        self, voice: Synthesizer, segments: Iterable[Segment], carry: bool, options: SpeechOptions
    ) -> None:
        self._voice, self._carry, self._options = voice, carry, options
        self._segments = (segment for segment in segments if segment.input is not None)
        self._prepared: tuple[Segment, list[Request]] | None = None

    def prepare(self) -> tuple[Segment, list[Request]] | None:
        """The next one, which ``next`` returns again; None after the last."""
        self._prepared = self.next(None)
        return self._prepared

    def next(self, state: LMState | None) -> tuple[Segment, list[Request]] | None:
        """The next one; None after the last. ``state``: the model's state before it, with ``carry``."""
        if self._prepared is not None:
            found, self._prepared = self._prepared, None
            return found
        segment = next(self._segments, None)
        if segment is None:
            return None
        assert segment.input is not None
        place = 0, segment.number
        return segment, self._voice.requests(segment.input, self._options, place, state, self._carry)


class _Progress(Protocol):
    """A stream or result, as far as it is known."""

    @property
    def frames(self) -> int: ...

    @property
    def finished(self) -> bool: ...

    @property
    def stopped(self) -> bool: ...


class _Whole(NamedTuple):
    """A chosen result, all of it known."""

    frames: int
    stopped: bool
    finished: bool = True


class _Order:
    """Segments whose audio is still to come. A decoder that lags gives the end of one during the next."""

    def __init__(self) -> None:
        self._segments: deque[tuple[Segment, _Progress]] = deque()
        self._waiting: deque[Float[Tensor, "C hop"]] = deque()
        self._frames = 0

    def begin(self, segment: Segment, progress: _Progress) -> None:
        """The next codes are of ``segment``."""
        self._segments.append((segment, progress))

    def tagged(
        self, audio: Iterable[Float[Tensor, "C hop"]]
    ) -> Iterator[tuple[Float[Tensor, "C hop"], FrameTag]]:
        """Frames with their tags. One waits until it is known if it is the last of its segment: that may fade."""
        self._waiting.extend(audio)
        while self._waiting:
            segment, progress = self._segments[0]
            if self._frames + 1 < progress.frames:
                self._frames += 1
                yield self._waiting.popleft(), FrameTag(segment)
            elif not progress.finished:
                return
            else:
                self._segments.popleft()
                if self._frames < progress.frames:
                    self._frames = 0
                    yield self._waiting.popleft(), FrameTag(segment, not progress.stopped)
