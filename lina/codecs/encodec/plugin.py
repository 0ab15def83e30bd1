"""Plugin ``codec:encodec``: its configuration and its two codecs."""

from math import prod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from lina.codecs.encodec.network import COMPRESSION, RESIDUAL_KERNEL, EnCodecSizes, Network
from lina.codecs.encodec.segments import SegmentedEnCodec
from lina.codecs.encodec.stream import EnCodecDecoder, EnCodecEncoder
from lina.codecs.encodec.weights import REMEDY, fill_randomly, load_weights
from lina.core.audio.codec import validate_audio, validate_codes
from lina.core.errors import PluginError, SpecError
from lina.core.files.weights_source import WeightsSource
from lina.core.plugin import CodecPlugin, PluginConfig


class EnCodecConfig(PluginConfig):
    variant: Literal["24khz", "48khz"] = "24khz"
    codebooks: int = Field(default=8, ge=1, le=32)
    """0.75 kbit/s each at 24 kHz (32 in the release), 1.5 kbit/s at 48 kHz (16)."""
    weights: WeightsSource | None = None
    """EnCodec's release (.th), transformers' layout (model.safetensors or its folder), or its address on the hub:
    hf://ORGANIZATION/NAME@REVISION."""
    random_weights: bool = False
    """Random weights instead of trained ones: for tests only."""
    seed: int = 0
    """Of the random weights."""
    overlap: int = Field(default=2, ge=0)
    """48 kHz: frames over which segments of one second are cross-faded in decoding."""
    filters: int = Field(default=32, ge=COMPRESSION)
    """Other sizes than the defaults are for tests, and for weights trained with them."""
    dimension: int = Field(default=128, ge=1)
    ratios: tuple[int, ...] = Field(default=(8, 5, 4, 2), min_length=1)
    kernel: int = Field(default=7, ge=1)
    lstm_layers: int = Field(default=2, ge=1)
    codebook_size: int = Field(default=1024, ge=2)
    segment: int = Field(default=150, ge=1)
    """48 kHz: frames that are encoded and decoded independently."""


class StreamingEnCodec(nn.Module):
    """A ``StreamingCodec``: mono, 24 kHz, that also encodes and decodes whole utterances.

    Whole ``encode`` and ``decode`` equal the reference bit for bit; they run without gradients, because torch has
    another LSTM kernel with gradients, which rounds differently. Gradients flow through the streams. Streaming
    gives the same audio within 1e-5, and the same codes unless two entries of a codebook are equally near within
    rounding.
    """

    channels = 1
    sample_rate = 24000

    def __init__(self, network: Network, hop: int) -> None:
        super().__init__()
        self.network = network
        self.hop = hop
        self.codebook_sizes = (network.sizes.codebook_size,) * network.sizes.codebooks
        self.encoder = EnCodecEncoder(network, hop)
        self.decoder = EnCodecDecoder(network, hop)

    @torch.no_grad()
    def encode(self, audio: Float[Tensor, "B 1 samples"]) -> Int[Tensor, "B T Q"]:
        validate_audio(self, audio)
        return self.network.encode(audio)

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B 1 samples"]:
        validate_codes(self, codes)
        return self.network.decode(codes)


class EnCodec(CodecPlugin):
    Config: ClassVar[type[PluginConfig]] = EnCodecConfig

    @classmethod
    def build(cls, *, config: EnCodecConfig) -> StreamingEnCodec | SegmentedEnCodec:
        """Raises PluginError without weights, SpecError for incompatible sizes."""
        causal = config.variant == "24khz"
        _check(config, causal)
        sizes = EnCodecSizes(
            channels=1 if causal else 2,
            causal=causal,
            filters=config.filters,
            dimension=config.dimension,
            ratios=config.ratios,
            kernel=config.kernel,
            lstm_layers=config.lstm_layers,
            codebook_size=config.codebook_size,
            codebooks=config.codebooks,
        )
        network = Network(sizes)
        if config.weights is not None:
            load_weights(network, config.weights)
        else:
            fill_randomly(network, config.seed)
        network.requires_grad_(False).eval()
        hop = prod(config.ratios)
        if causal:
            return StreamingEnCodec(network, hop)
        return SegmentedEnCodec(network, hop, config.segment, config.overlap)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {
            "config": EnCodecConfig(
                random_weights=True,
                codebooks=3,
                filters=2,
                dimension=6,
                ratios=(4, 2),
                lstm_layers=2,
                codebook_size=16,
            )
        }


def _check(config: EnCodecConfig, causal: bool) -> None:
    if config.weights is None and not config.random_weights:
        raise PluginError(f"codec:encodec has no weights; {REMEDY}")
    if config.weights is not None and config.random_weights:
        raise SpecError("codec:encodec: config has both weights and random_weights; remove one")
    if not causal and config.codebooks > 16:
        raise SpecError(
            f"codec:encodec: config.codebooks is {config.codebooks}; the 48 kHz variant has 16 at most"
        )
    if not causal and config.overlap > config.segment:
        raise SpecError(
            f"codec:encodec: config.overlap is {config.overlap} frames; "
            f"set at most a segment, {config.segment}"
        )
    # A stream reflects within its first frame, which must be longer than its convolutions reach back.
    if causal and (config.ratios[0] < RESIDUAL_KERNEL or prod(config.ratios) < config.kernel):
        raise SpecError(
            f"codec:encodec: config.ratios {list(config.ratios)} are too small to stream; set a first ratio "
            f"of at least {RESIDUAL_KERNEL} and a product of at least config.kernel, {config.kernel}"
        )
