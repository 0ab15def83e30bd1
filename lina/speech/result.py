"""Results of synthesis, and codes decoded whole."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.audio.codec import AnyCodec, decode, decode_stream
from lina.core.protocols import DecoderStream, Tokenizer
from lina.core.state import leaves
from lina.speech.alignment import Alignment, join_alignments
from lina.speech.best_of import Candidate, Choice
from lina.speech.shaping import AudioChunk
from lina.speech.synthesis_input import SynthesisInput

T = TypeVar("T")


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
