"""A codec of whole utterances over a model of transformers."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lina.core.audio.codec import validate_audio, validate_codes


class WholeCodec(nn.Module):
    """A whole ``Codec``: all frames of an utterance at once."""

    channels = 1

    def __init__(
        self,
        model: nn.Module,
        *,
        sample_rate: int,
        hop: int,
        codebook_sizes: tuple[int, ...],
        encoder: Callable[[Any, Tensor], Tensor],
        decoder: Callable[[Any, Tensor], Tensor],
    ) -> None:
        """``encoder`` maps audio [B, 1, N] to codes [B, Q, T]; ``decoder`` codes to audio [B, 1, about T * hop].

        Both get ``model`` first, and do not close over it: a deep copy of the codec uses its own weights.
        """
        super().__init__()
        self.model = model
        self.sample_rate, self.hop, self.codebook_sizes = sample_rate, hop, codebook_sizes
        self._encoder, self._decoder = encoder, decoder

    @torch.no_grad()
    def encode(self, audio: Float[Tensor, "B 1 samples"]) -> Int[Tensor, "B T Q"]:
        validate_audio(self, audio)
        codes = self._encoder(self.model, audio)[:, : len(self.codebook_sizes)]
        return codes.transpose(1, 2).long()

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B 1 samples"]:
        validate_codes(self, codes)
        audio = self._decoder(self.model, codes.long().transpose(1, 2))
        # An odd ratio of upsampling leaves a few samples less than whole frames.
        samples = codes.shape[1] * self.hop
        return functional.pad(audio[..., :samples], (0, max(0, samples - audio.shape[-1])))
