"""Batched synthesis: sentences of several texts are streams of one engine; each text's audio is decoded at once."""

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lina.core.process.threads import limit_threads
from lina.core.text.sentences import sentences_of_text
from lina.speech.best_of import Choice, select_best
from lina.speech.long_form import end_sentence
from lina.speech.options import SpeechOptions
from lina.speech.result import SentenceSpeech, Speech, decode_after, join_speech
from lina.speech.segments import Segment, list_segments, whole_segment
from lina.speech.shaping import FrameTag, shape_frames, tag_frames
from lina.speech.synthesis_input import SynthesisInput, prompts_of_texts
from lina.speech.synthesizer import Synthesizer

SLOTS = 64
"""Maximum streams at a time: sentences times ``best_of``. Streams do not depend on one another."""

Key = tuple[int, int]
"""Indices of a text and of its segment."""


def synthesize_batch(
    voice: Synthesizer, texts: Sequence[str], options: SpeechOptions, whole: bool = False
) -> list[Speech]:
    """Synthesize texts at most ``SLOTS`` sentences at a time; ``whole``: each text is one segment.

    Raises:
        TextError: a text cannot be spoken; raised before synthesis starts.
        LinaError: the numbers of prompts and texts differ.
    """
    by_text = [
        [whole_segment(voice, text, prompt)]
        if whole
        else list_segments(voice, sentences_of_text(text), prompt)
        for text, prompt in zip(texts, prompts_of_texts(options.prompt, len(texts)), strict=True)
    ]
    work = [
        ((row, segment.number), segment.input)
        for row, segments in enumerate(by_text)
        for segment in segments
        if segment.input is not None
    ]
    with limit_threads(voice.threads):
        choices = _choose(voice, work, options) if work else {}
        return [_join(voice, row, segments, choices) for row, segments in enumerate(by_text)]


def _choose(
    voice: Synthesizer, work: Sequence[tuple[Key, SynthesisInput]], options: SpeechOptions
) -> dict[Key, Choice]:
    """Decode all inputs, as many at a time as there are slots."""
    requests = (one for key, item in work for one in voice.requests(item, options, key))
    with voice.engines.borrow(options.guidance, min(SLOTS, len(work) * options.best_of)) as engine:
        rows = engine.run(requests)
        return {
            key: select_best(list(itertools.islice(rows, options.best_of)), item, options.seed)
            for key, item in work
        }


def _join(voice: Synthesizer, row: int, segments: Sequence[Segment], choices: dict[Key, Choice]) -> Speech:
    sentences: list[SentenceSpeech] = []
    frames: Iterable[tuple[Tensor, FrameTag]] = ()
    with_input = [segment for segment in segments if segment.input is not None]
    if with_input:
        sentences = [end_sentence(voice, segment, choices[row, segment.number]) for segment in with_input]
        codes = torch.cat([one.codes for one in sentences])
        audio = decode_after(voice.codec, voice.engines.device_decoder, sentences[0].input.prompt, codes)
        parts = audio.split([len(one.codes) * voice.codec.hop for one in sentences], dim=1)
        frames = (
            frame
            for segment, part, one in zip(with_input, parts, sentences, strict=True)
            for frame in tag_frames(part.split(voice.codec.hop, dim=1), segment, one)
        )
    pieces = shape_frames(voice.codec, frames, lambda: segments[-1].seconds, torch.from_numpy)
    return join_speech(voice.codec, pieces, sentences)
