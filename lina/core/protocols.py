"""Protocols of plugins. Everything that composes over time is a stream with two forms, bound by one law:

folding ``step`` over time equals ``parallel_forward``: outputs, final state and gradients.

Shapes: B rows, T frames, D model width, Q codebooks, C audio channels, hop samples per frame. ``lina.core.laws``
checks all of these; docs/plugins.md walks through writing a plugin.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:  # a voice of graphs needs contracts, and no torch
    import torch
    from jaxtyping import Float, Int
    from torch import Tensor

    from lina.core.state import State

S = TypeVar("S")


def members(protocol: Any) -> set[str]:
    """Names of the members of ``protocol``."""
    return {
        name for name in (*vars(protocol), *inspect.get_annotations(protocol)) if not name.startswith("_")
    }


def implements(thing: object, protocol: Any) -> bool:
    """Check that ``thing`` has all members of ``protocol``.

    Not ``isinstance``, which since Python 3.12 overlooks the submodules of an ``nn.Module``.
    """
    return all(hasattr(thing, name) for name in members(protocol))


@runtime_checkable
class Backbone(Protocol):
    """A causal stream over vectors with a state of constant size.

    It knows vectors and its own state; never tokens, text, codecs or the lengths of rows.
    """

    def initial_state(self, batch: int) -> State:
        """State before the first frame, for ``batch`` rows, on the module's device."""
        ...

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: State
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """Process T >= 1 frames at once, at a cost linear in T: training and prefill."""
        ...

    def step(self, x: Float[Tensor, "B D"], state: State) -> tuple[Float[Tensor, "B D"], State]:
        """Process one frame: synthesis. The argument is not changed; the returned state has its shapes and dtypes."""
        ...


def takes_starts(backbone: Backbone) -> bool:
    """Check for ``parallel_forward(x, state, starts=None)``: rows restart from ``initial_state`` at frames ``starts``.

    An optional capability (bool [B, T]), for packing utterances end to end. It is found in the signature; a wrapper
    around other backbones declares it by an attribute ``takes_starts``.
    """
    declared = getattr(backbone, "takes_starts", None)
    if declared is None:
        return "starts" in inspect.signature(backbone.parallel_forward).parameters
    return bool(declared)


@runtime_checkable
class FusesStep(Protocol):
    """An optional capability of a backbone or mixer: a step that advances static buffers in place, for the engine."""

    def fused_step(self) -> Any:
        """A ``lina.core.model.in_place.InPlaceStep``, made from the weights as they are now; None on this machine.

        Its ``forward(x, state)`` returns the output of ``step`` and leaves its state in ``state``, which is read once
        and written once.
        """
        ...


@runtime_checkable
class EncoderStream(Protocol):
    """Audio in, codes out, lagging by ``latency`` frames.

    Output frame t belongs to input frame t - latency; the first ``latency`` outputs of a stream are fillers
    (codes in range, without meaning). ``flush`` returns the last ``latency`` frames at the end.
    """

    latency: int
    """Frames by which outputs lag behind inputs."""

    def initial_state(self, batch: int) -> State: ...

    def parallel_forward(
        self, audio: Float[Tensor, "B C samples"], state: State
    ) -> tuple[Int[Tensor, "B T Q"], State]:
        """samples = T * hop."""
        ...

    def step(self, audio: Float[Tensor, "B C hop"], state: State) -> tuple[Int[Tensor, "B Q"], State]: ...

    def flush(self, state: State) -> Int[Tensor, "B latency Q"]: ...


@runtime_checkable
class DecoderStream(Protocol):
    """Codes in, audio out, lagging by ``latency`` frames; otherwise as ``EncoderStream`` (fillers are silence)."""

    latency: int

    def initial_state(self, batch: int) -> State: ...

    def parallel_forward(
        self, codes: Int[Tensor, "B T Q"], state: State
    ) -> tuple[Float[Tensor, "B C samples"], State]:
        """samples = T * hop."""
        ...

    def step(self, codes: Int[Tensor, "B Q"], state: State) -> tuple[Float[Tensor, "B C hop"], State]: ...

    def flush(self, state: State) -> Float[Tensor, "B C samples"]:
        """samples = latency * hop."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Audio to codes and back, whole utterances only. Audio is in [-1, 1] at ``sample_rate``.

    An optional fact, ``decodes_at_random = True``: ``decode`` draws from a random generator that cannot be seeded, so
    two decodings differ.
    """

    sample_rate: int
    """Hz."""
    hop: int
    """Samples a frame."""
    channels: int
    """Audio channels: 1 or 2."""
    codebook_sizes: tuple[int, ...]
    """Entries of each codebook; codes of codebook q are in 0 .. codebook_sizes[q] - 1."""

    def encode(self, audio: Float[Tensor, "B C samples"]) -> Int[Tensor, "B T Q"]:
        """samples must be a multiple of hop (core pads); T = samples / hop."""
        ...

    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B C samples"]:
        """samples = T * hop."""
        ...


@runtime_checkable
class StreamingCodec(Protocol):
    """A codec that is a pair of streams. Core derives whole ``encode`` and ``decode`` from them.

    Facts as in ``Codec``.
    """

    sample_rate: int
    hop: int
    channels: int
    codebook_sizes: tuple[int, ...]
    encoder: EncoderStream
    decoder: DecoderStream


@runtime_checkable
class DecodesOnDevice(Protocol):
    """An optional capability of a streaming codec: its decoder on a GPU, for the engine."""

    def decoder_on(self, device: torch.device) -> DecoderStream:
        """A decoder with the weights as they are now, on ``device``, which equals ``decoder`` up to rounding.

        Its ``parallel_forward`` never waits for the device, so that it can be captured as a CUDA graph.
        """
        ...


class Reconstruction(NamedTuple):
    """Output of a codec in training."""

    audio: Float[Tensor, "B C samples"]
    """As long as the input."""
    commitment: Float[Tensor, ""]
    """Commitment loss of the encoder: distance of the latents from their quantized values."""
    codes: Int[Tensor, "B T Q"]
    evidence: tuple[Tensor, ...]
    """Input of ``learn_codebooks``, without gradients, each tensor with the batch as its first axis."""


@runtime_checkable
class TrainableCodec(Protocol):
    """A codec, an ``nn.Module``, that can be trained. Facts as in ``Codec``."""

    sample_rate: int
    hop: int
    channels: int
    codebook_sizes: tuple[int, ...]

    def reconstruct(self, audio: Float[Tensor, "B C samples"], codebooks: Int[Tensor, B]) -> Reconstruction:
        """Encode and decode, differentiably; row b by its first ``codebooks[b]`` codebooks. samples = T * hop."""
        ...

    def learn_codebooks(self, reconstruction: Reconstruction, generator: torch.Generator) -> None:
        """Move the codebooks towards the vectors that they coded, once per step, after the optimizer step.

        They are buffers. The generator, on the CPU, draws replacements of unused entries.
        """
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids in 0 .. vocab_size - 1. The state is an immutable JSON value.

    ``parallel_forward(text)`` equals folding ``step`` over any split of the text, then ``flush``. Marks of
    beginning and end, if the tokenizer has any, are ids of its own. Raises ``TextError`` naming the characters
    that it refuses.

    Optional capabilities: ``reads_phonemes`` (True: phonemes in brackets are read as they are); ``skipping_unknown()``
    gives the tokenizer that leaves refused characters out with a warning; ``with_lexicon(entries)`` gives the one that
    reads the words of a mapping by their phonemes.
    """

    vocab_size: int

    def initial_state(self) -> Any: ...

    def parallel_forward(self, text: str) -> list[int]: ...

    def step(self, piece: str, state: Any) -> tuple[list[int], Any]: ...

    def flush(self, state: Any) -> list[int]: ...

    def labels(self, ids: Sequence[int]) -> list[str]:
        """A short printable label for each id, for plots.

        Those of sounds have a letter or digit, those of punctuation none: a text that has only the latter is refused.
        """
        ...


@runtime_checkable
class Recognizer(Protocol):
    """Speech to text, to evaluate synthesized speech."""

    sample_rate: int
    """Hz of the audio that it takes."""
    language: str
    """Of its transcripts, as an ISO 639-1 code: chooses the normalization before error rates are counted."""

    def transcribe(self, audio: Float[Tensor, samples]) -> str:
        """Transcribe to plain text."""
        ...
