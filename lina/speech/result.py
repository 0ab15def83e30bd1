"""Results of synthesis, and codes decoded whole or frame by frame."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode, decoder_stream, skip
from lina.core.protocols import Tokenizer
from lina.speech.alignment import Alignment, join_alignments
from lina.speech.best_of import Candidate, Choice
from lina.speech.lines import Line
from lina.speech.request import Script

T = TypeVar("T")


class Spoken(NamedTuple):
    """A frame of audio, or silence that is no longer than one."""

    audio: Float[Tensor, "C n"]
    sentence: int
    """Its sentence, from 0."""


@dataclass(frozen=True)
class SentenceSpeech:
    """One sentence as the model spoke it, or the part of one between two pauses; nothing of the prompt."""

    script: Script
    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """Where each frame (of codebook 0) read the text."""
    labels: tuple[str, ...]
    """The J text positions, those of a prompt's transcript first."""
    stopped: bool
    """False: cut at the limit, the model did not end by itself."""
    candidate: Candidate
    """Its seed and how it followed the text."""
    candidates: tuple[Candidate, ...]
    """All that it was chosen among (``best_of``), itself too, in the order of their seeds."""


@dataclass(frozen=True)
class Speech:
    """The speech of one text: the audio of all its sentences and the silence of its pauses, end to end."""

    audio: Float[Tensor, "C samples"]
    codes: Int[Tensor, "T Q"]
    """Of all sentences; silence of pauses has none."""
    sentences: tuple[SentenceSpeech, ...]

    @property
    def attention(self) -> Float[Tensor, "T J"]:
        """Where each frame read the text: a block per sentence, which reads its own positions alone."""
        blocks = [one.attention for one in self.sentences]
        return torch.block_diag(*blocks) if blocks else torch.zeros(0, 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The J text positions."""
        return tuple(label for one in self.sentences for label in one.labels)

    @property
    def stopped(self) -> bool:
        """False: a sentence was cut at the limit, where the model did not end by itself."""
        return all(one.stopped for one in self.sentences)

    @property
    def alignment(self) -> Alignment:
        """How the speech followed the text."""
        scripts = [one.script for one in self.sentences]
        return join_alignments(
            [one.candidate.alignment for one in self.sentences],
            [len(script.ids) - script.start for script in scripts],
        )


def sentence_speech(script: Script, choice: Choice, tokenizer: Tokenizer) -> SentenceSpeech:
    codes, attention, stopped, _ = choice.said
    return SentenceSpeech(
        script,
        codes,
        attention[:, : len(script.ids)],
        tuple(tokenizer.labels(script.ids)),
        stopped,
        choice.candidate,
        choice.candidates,
    )


def join_speech(codec: AnyCodec, pieces: Iterable[Spoken], sentences: Sequence[SentenceSpeech]) -> Speech:
    """The speech of one text from all its audio and its sentences."""
    audio = [torch.zeros(codec.channels, 0), *(piece.audio for piece in pieces)]
    codes = [torch.zeros(0, len(codec.codebook_sizes), dtype=torch.int64), *(one.codes for one in sentences)]
    return Speech(torch.cat(audio, dim=1), torch.cat(codes), tuple(sentences))


@torch.no_grad()
def decode_after(
    codec: AnyCodec, prompt: Int[Tensor, "P Q"], codes: Int[Tensor, "T Q"]
) -> Float[Tensor, "C samples"]:
    """The audio of ``codes``; the prompt is decoded before them, for the sake of the seam, and then cut away."""
    return decode(codec, torch.cat([prompt, codes])[None])[0][:, len(prompt) * codec.hop :]


@torch.no_grad()
def decode_frames(
    codec: AnyCodec, prompt: Int[Tensor, "P Q"], frames: Iterable[tuple[Int[Tensor, "1 Q"], T]]
) -> Iterator[tuple[Float[Tensor, "C hop"], T]]:
    """The audio of each frame of one stream, with what came with its codes; the decoder hears ``prompt`` before."""
    decoder = decoder_stream(codec)
    state = decoder.initial_state(1)
    if len(prompt):
        state = skip(decoder, prompt[None], state)
    # Outputs lag: what comes first is of no frame, or of the prompt's.
    waiting: deque[T] = deque()
    for codes, own in frames:
        waiting.append(own)
        audio, state = decoder.step(codes.cpu(), state)
        if len(waiting) > decoder.latency:
            yield audio[0], waiting.popleft()
    if waiting:
        rest = decoder.flush(state)[0][:, -len(waiting) * codec.hop :]
        for audio in rest.split(codec.hop, dim=1):
            yield audio, waiting.popleft()


def with_silence(
    codec: AnyCodec, frames: Iterable[tuple[Float[Tensor, "C hop"], Line]], total: Callable[[], float]
) -> Iterator[Spoken]:
    """Frames, and zero samples where their lines request silence; ``total`` gives the seconds of all, at the end."""
    samples, number = 0, 0

    def silence(seconds: float) -> Iterator[Spoken]:
        nonlocal samples
        missing = round(seconds * codec.sample_rate) - samples
        samples += missing
        if missing > 0:
            pause = torch.zeros(codec.channels, missing)
            yield from (Spoken(piece, number) for piece in pause.split(codec.hop, dim=1))

    for audio, line in frames:
        number = line.sentence
        yield from silence(line.seconds)
        yield Spoken(audio, number)
    yield from silence(total())
