"""Encode one recording to codes, or reject it with a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor
from torch.nn.functional import pad

from lina.core.audio.read import AudioError, read_audio
from lina.core.errors import PluginError, TextError
from lina.core.utterance import Reject, Utterance

Encode = Callable[[Float[Tensor, "B C N"]], Int[Tensor, "B T Q"]]

LARGEST_CODEBOOK = np.iinfo(np.int16).max + 1


@dataclass(frozen=True)
class CodecFacts:
    """Attributes of a codec that encoding needs; see ``lina.core.protocols.Codec``."""

    sample_rate: int
    hop: int
    channels: int
    codebook_sizes: tuple[int, ...]

    @classmethod
    def of(cls, codec: Any) -> "CodecFacts":
        sizes = tuple(int(size) for size in codec.codebook_sizes)
        return cls(int(codec.sample_rate), int(codec.hop), int(codec.channels), sizes)


class EncodingTools(NamedTuple):
    """Codec and text check of a worker process."""

    encode: Encode
    """Audio [1, C, N] in [-1, 1], N a multiple of the hop, to codes [1, N / hop, Q]."""
    check_text: Callable[[str], object] | None = None
    """Raises ``TextError`` for a text that cannot be spoken; the shards' ``settings`` then name its tokenizer."""


@dataclass(frozen=True)
class Encoder:
    """Read, check and encode one utterance; arguments as in ``EncodingTools`` and ``build_tokens``.

    Raises:
        PluginError: the codec breaks its contract, or a package that a recording needs is not installed.
    """

    encode: Encode
    facts: CodecFacts
    min_seconds: float
    max_seconds: float
    check_text: Callable[[str], object] | None

    def __post_init__(self) -> None:
        largest = max(self.facts.codebook_sizes)
        if largest > LARGEST_CODEBOOK:
            raise PluginError(f"a codebook of {largest} entries: shards hold at most {LARGEST_CODEBOOK}")

    def __call__(self, utterance: Utterance) -> Int16[Tensor, "T Q"] | Reject:
        return self.codes(utterance, self.read(utterance))

    def read(self, utterance: Utterance) -> Float[Tensor, "C N"] | Reject:
        """The recording in whole frames; needs the CPU alone."""
        facts = self.facts
        try:
            if self.check_text is not None:
                self.check_text(utterance.text)
            audio = read_audio(utterance.audio, facts.sample_rate, facts.channels, self.max_seconds)
            if audio.shape[1] < self.min_seconds * facts.sample_rate:
                raise AudioError(utterance.audio, f"too short: less than {self.min_seconds:g} s")
            if audio.shape[1] < facts.hop:
                raise AudioError(utterance.audio, f"too short: less than one frame of {facts.hop} samples")
        except AudioError as error:
            return Reject(id=utterance.id, where=str(utterance.audio), reason=error.reason)
        except TextError as error:
            return Reject(id=utterance.id, where=str(utterance.audio), reason=f"text refused: {error}")
        return pad(audio, (0, -audio.shape[1] % facts.hop))

    def codes(
        self, utterance: Utterance, audio: Float[Tensor, "C N"] | Reject
    ) -> Int16[Tensor, "T Q"] | Reject:
        """The codes of a recording that ``read`` gave."""
        if isinstance(audio, Reject):
            return audio
        with torch.no_grad():
            codes = self.encode(audio.unsqueeze(0))
        self._check(codes, audio.shape[1] // self.facts.hop, utterance.id)
        return codes[0].to("cpu", torch.int16)

    def _check(self, codes: Int[Tensor, "B T Q"], frames: int, id: str) -> None:
        sizes = self.facts.codebook_sizes
        expected = [1, frames, len(sizes)]
        if list(codes.shape) != expected or codes.is_floating_point():
            raise PluginError(
                f"the codec gave codes {list(codes.shape)} {codes.dtype} for {id!r}, expected "
                f"integers {expected}; run `lina check` on it"
            )
        if bool(((codes < 0) | (codes >= torch.tensor(sizes, device=codes.device))).any()):
            raise PluginError(
                f"the codec gave codes out of range for {id!r}: {int(codes.min())} to "
                f"{int(codes.max())} in codebooks of {list(sizes)}; run `lina check` on it"
            )
