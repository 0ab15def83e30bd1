"""Long-form synthesis: sentences one after the other as a single stream of audio.

Between sentences only state of constant size is kept: that of the codec's decoder, and with ``carry`` that of the
model.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.audio.codec import frame_rate
from lina.core.errors import LinaError
from lina.core.model.delay_lm import LMState, next_text
from lina.speech.best_of import Choice, select_best
from lina.speech.options import SpeechOptions
from lina.speech.prompt import Prompt
from lina.speech.result import (
    AudioChunk,
    FrameTag,
    SentenceSpeech,
    decode_frames,
    sentence_speech,
    shape_frames,
    tag_frames,
)
from lina.speech.segments import Segment, iterate_segments, list_segments
from lina.speech.synthesizer import Synthesizer
from lina.speech.threads import limit_threads_of

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

    prompt = torch.zeros(0, len(voice.codec.codebook_sizes), dtype=torch.int64)
    if isinstance(options.prompt, Prompt):
        assert isinstance(options.prompt.audio, Tensor)
        prompt = options.prompt.audio
    frames = decode_frames(voice.codec, prompt, _frames(voice, count_silence(), carry, options, on_sentence))
    yield from shape_frames(voice.codec, frames, lambda: seconds)


@torch.inference_mode()
def _frames(
    voice: Synthesizer,
    segments: Iterable[Segment],
    carry: bool,
    options: SpeechOptions,
    on_sentence: OnSentence,
) -> Iterator[tuple[Int[Tensor, "1 Q"], FrameTag]]:
    """Yield complete frames of codes with their tags: as sampled, or with ``best_of`` after selection."""
    lm = voice.language_model(options)
    state: LMState | None = None
    with voice.engines.borrow(options.guidance, options.best_of) as engine:
        for segment in segments:
            if segment.input is None:
                continue
            requests = voice.requests(segment.input, options, (0, segment.number), state, carry)
            streams = [engine.submit(request) for request in requests]
            if options.best_of == 1:
                yield from tag_frames(streams[0], segment, streams[0])
            rows = [stream.result() for stream in streams]
            choice = select_best(rows, segment.input, options.seed)
            if options.best_of > 1:
                yield from tag_frames(choice.row.codes.split(1), segment, choice.row)
            on_sentence(end_sentence(voice, segment, choice))
            if carry:
                assert rows[0].state is not None
                state = next_text(rows[0].state, lm.initial_state(1))
