"""Results of synthesis, and codes decoded whole."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode, decode_stream
from lina.core.audio.time_stretch import TimeStretch
from lina.core.protocols import DecoderStream, Tokenizer
from lina.core.state import leaves
from lina.speech.alignment import Alignment, join_alignments
from lina.speech.best_of import Candidate, Choice
from lina.speech.segments import Segment
from lina.speech.synthesis_input import SynthesisInput

T = TypeVar("T")


class AudioChunk(NamedTuple):
    """Audio of at most one frame of the codec; of exactly one unless it is silence or a rate changes its length."""

    audio: Float[Tensor, "C n"]
    sentence: int
    """Index of its sentence."""


FADE_SECONDS = 0.02
"""Duration in which speech that is cut becomes silent."""


class FrameTag(NamedTuple):
    """The segment of a frame."""

    segment: Segment
    fades: bool = False
    """It is the last frame of speech that was cut."""


@dataclass(frozen=True)
class SentenceSpeech:
    """Speech of one segment (a sentence, or the part of one between two pauses), without the prompt."""

    input: SynthesisInput
    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """Attention of each frame (of codebook 0) over the text."""
    labels: tuple[str, ...]
    """Labels of the J text positions, those of a prompt's transcript first."""
    stopped: bool
    """The model ended by itself; False if it was cut at the limit."""
    candidate: Candidate
    """Its seed and alignment."""
    candidates: tuple[Candidate, ...]
    """All candidates of ``best_of``, in the order of their seeds."""


@dataclass(frozen=True)
class Speech:
    """Speech of one text: audio of all its sentences and pauses, concatenated."""

    audio: Float[Tensor, "C samples"]
    codes: Int[Tensor, "T Q"]
    """Codes of all sentences; pauses have none."""
    sentences: tuple[SentenceSpeech, ...]

    @property
    def attention(self) -> Float[Tensor, "T J"]:
        """Block-diagonal attention over the text: each sentence attends to its own positions only."""
        blocks = [one.attention for one in self.sentences]
        return torch.block_diag(*blocks) if blocks else torch.zeros(0, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the J text positions."""
        return tuple(label for one in self.sentences for label in one.labels)

    @property
    def stopped(self) -> bool:
        """All sentences ended by themselves; False if one was cut at the limit."""
        return all(one.stopped for one in self.sentences)

    @property
    def alignment(self) -> Alignment:
        """Alignment errors over all sentences."""
        inputs = [one.input for one in self.sentences]
        return join_alignments(
            [one.candidate.alignment for one in self.sentences],
            [len(item.ids) - item.start for item in inputs],
        )


def sentence_speech(item: SynthesisInput, choice: Choice, tokenizer: Tokenizer) -> SentenceSpeech:
    """Build the result of a segment from the chosen row."""
    return SentenceSpeech(
        item,
        choice.row.codes,
        choice.row.attention[:, : len(item.ids)],
        tuple(tokenizer.labels(item.ids)),
        choice.row.stopped,
        choice.candidate,
        choice.candidates,
    )


def join_speech(codec: AnyCodec, pieces: Iterable[AudioChunk], sentences: Sequence[SentenceSpeech]) -> Speech:
    """Join audio chunks and sentences into the speech of one text."""
    audio = [torch.zeros(codec.channels, 0), *(piece.audio for piece in pieces)]
    codes = [torch.zeros(0, len(codec.codebook_sizes), dtype=torch.int64), *(one.codes for one in sentences)]
    return Speech(torch.cat(audio, dim=1), torch.cat(codes), tuple(sentences))


@torch.no_grad()
def decode_after(
    codec: AnyCodec,
    device_decoder: DecoderStream | None,
    prompt: Int[Tensor, "P Q"],
    codes: Int[Tensor, "T Q"],
) -> Float[Tensor, "C samples"]:
    """Decode ``codes`` after those of a prompt, and return the audio of ``codes`` only, without a seam.

    ``device_decoder``: decodes instead of the codec itself.
    """
    whole = torch.cat([prompt, codes])[None]
    if device_decoder is None:
        audio = decode(codec, whole)
    else:
        device = leaves(device_decoder.initial_state(1))[0].device
        audio = decode_stream(device_decoder, whole.to(device)).cpu()
    return audio[0][:, len(prompt) * codec.hop :]


class Ending(Protocol):
    """A result or stream that knows, after its last frame, if the model has ended it."""

    @property
    def stopped(self) -> bool: ...


def tag_frames(frames: Iterable[T], segment: Segment, ending: Ending) -> Iterator[tuple[T, FrameTag]]:
    """Tag the frames of a segment. Each waits for the next one, since the last one fades if the speech is cut."""
    latest: list[T] = []
    for frame in frames:
        yield from ((one, FrameTag(segment)) for one in latest)
        latest = [frame]
    yield from ((one, FrameTag(segment, not ending.stopped)) for one in latest)


def shape_frames(
    codec: AnyCodec, frames: Iterable[tuple[Float[Tensor, "C hop"], FrameTag]], total: Callable[[], float]
) -> Iterator[AudioChunk]:
    """From decoded frames to the output: fades, speaking rates, and the silence that segments request before them.

    ``total``: seconds of silence in all, called after the last frame.
    """
    return _with_silence(codec, _with_rate(codec, _with_fades(codec, frames)), total)


def _with_fades(
    codec: AnyCodec, frames: Iterable[tuple[Float[Tensor, "C hop"], FrameTag]]
) -> Iterator[tuple[Float[Tensor, "C hop"], Segment]]:
    samples = min(codec.hop, round(FADE_SECONDS * codec.sample_rate))
    fade = torch.cat([torch.ones(codec.hop - samples), torch.arange(samples, 0, -1) / samples])
    for audio, tag in frames:
        yield audio * fade if tag.fades else audio, tag.segment


def _with_rate(
    codec: AnyCodec, frames: Iterable[tuple[Float[Tensor, "C hop"], Segment]]
) -> Iterator[tuple[Float[Tensor, "C n"], Segment]]:
    """Stretch segments of one rate in time as one, up to a pause."""
    for (rate, _), run in groupby(frames, lambda frame: (frame[1].rate, frame[1].seconds)):
        if rate == 1:
            yield from run
            continue
        stretch = TimeStretch(rate, codec.sample_rate, codec.channels)
        state, segment = stretch.initial_state(), None
        for frame, segment in run:
            audio, state = stretch.step(frame, state)
            yield audio, segment
        assert segment is not None
        yield stretch.flush(state), segment


def _with_silence(
    codec: AnyCodec, pieces: Iterable[tuple[Float[Tensor, "C n"], Segment]], total: Callable[[], float]
) -> Iterator[AudioChunk]:
    samples, number = 0, 0

    def silence(seconds: float) -> Iterator[AudioChunk]:
        nonlocal samples
        missing = round(seconds * codec.sample_rate) - samples
        samples += missing
        if missing > 0:
            pause = torch.zeros(codec.channels, missing)
            yield from (AudioChunk(piece, number) for piece in pause.split(codec.hop, dim=1))

    for audio, segment in pieces:
        number = segment.sentence
        yield from silence(segment.seconds)
        yield from (AudioChunk(one, number) for one in audio.split(codec.hop, dim=1) if one.shape[1])
    yield from silence(total())
