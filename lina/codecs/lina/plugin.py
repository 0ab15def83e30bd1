"""Plugin ``codec:lina``: its configuration and its codec."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from lina.codecs.lina.device_decoder import device_decoder
from lina.codecs.lina.network import DECODER_BLOCKS, Network
from lina.codecs.lina.sizes import NetworkSizes
from lina.codecs.lina.stream import LinaDecoder, LinaEncoder
from lina.codecs.lina.weights import load_network, save_weights
from lina.core.errors import SpecError
from lina.core.plugin import CodecPlugin, PluginConfig
from lina.core.protocols import DecoderStream, EncoderStream

RELEASES = Path(__file__).parent
"""Folder of the weights that ship with lina, each beside its card."""


class LinaCodecConfig(PluginConfig):
    codebooks: int | None = Field(default=None, ge=1, le=64)
    """Number of codebooks; by default all of the weights. Each is 0.25 kbit/s at the default sizes."""
    release: Literal["speech-1"] = "speech-1"
    """Weights that ship with lina, unless ``weights`` names a file. The default stays ``speech-1``: runs trained on its
    codes depend on it."""
    weights: Path | None = None
    """Weights file of a run with ``job: codec``."""
    sizes: NetworkSizes | None = None
    """Sizes of a new codec, to be trained from random weights."""
    freeze_codes: bool = False
    """In training, keep encoder and codebooks as they are in ``weights`` and train the decoder alone: codes stay valid,
    and so do models that predict them."""
    decoder_slow_blocks: int | None = Field(default=None, ge=0, le=1000)
    """In training, blocks of the decoder at the rate of frames, at least as many as ``weights`` has; added ones begin
    as identities."""
    decoder_fast_blocks: int | None = Field(default=None, ge=0, le=1000)
    """The same, at the rate of spectra."""
    random_weights: bool = False
    """Random weights instead of trained ones: for tests only. They need ``sizes``."""
    seed: int = Field(default=0, ge=0)
    """Of the random weights."""


class StreamingLina(nn.Module):
    """A ``StreamingCodec``."""

    channels = 1

    def __init__(self, network: Network, codebooks: int) -> None:
        super().__init__()
        self.sample_rate, self.hop = network.sample_rate, network.hop
        self.codebook_sizes = network.codebook_sizes[:codebooks]
        self.encoder: EncoderStream = LinaEncoder(network, codebooks)
        self.decoder: DecoderStream = LinaDecoder(network)

    def decoder_on(self, device: torch.device) -> DecoderStream:
        """A ``DecodesOnDevice``: a copy of the decoder."""
        assert isinstance(self.decoder, LinaDecoder)
        return device_decoder(self.decoder, device)


class LinaCodec(CodecPlugin):
    Config: ClassVar[type[PluginConfig]] = LinaCodecConfig

    @classmethod
    def build(cls, *, config: LinaCodecConfig) -> StreamingLina:
        """Raises PluginError for weights that cannot be read, SpecError for incompatible keys."""
        if settings := _training_settings(config):
            raise SpecError(
                f"codec:lina: config.{settings[0]} is for training a codec (job: codec); remove it, as a weights file "
                "has its own sizes"
            )
        if config.random_weights:
            network = _random(config)
        elif config.sizes is not None:
            raise SpecError(
                "codec:lina: config.sizes describe a codec to be trained (job: codec); a weights file "
                "has its own, so name it in config.weights and remove sizes"
            )
        else:
            network = load_network(config.weights or RELEASES / f"{config.release}.safetensors")
        network.requires_grad_(False).eval()
        return StreamingLina(network, _codebooks(config, network))

    @classmethod
    def build_trainable(cls, *, config: LinaCodecConfig) -> Network:
        """Build with fresh weights of ``config.sizes``, or with those of ``config.weights`` to continue from.

        Raises:
            PluginError: the weights cannot be read.
            SpecError: both are set, or fewer codebooks than the sizes have, or keys that need ``config.weights``.
        """
        if config.sizes is not None and config.weights is not None:
            raise SpecError("codec:lina: config has both weights and sizes; a weights file has its own sizes")
        if config.codebooks is not None or config.random_weights:
            raise SpecError(
                "codec:lina: a codec is trained with all of config.sizes.codebooks, from random weights "
                "unless config.weights names a file; remove config.codebooks and config.random_weights"
            )
        if config.weights is None:
            if settings := _training_settings(config):
                raise SpecError(
                    f"codec:lina: config.{settings[0]} needs weights to begin with, in config.weights"
                )
            return Network(config.sizes or NetworkSizes())
        network = _with_more_blocks(load_network(config.weights), config)
        network.quantizer.trust_entries()
        if config.freeze_codes:
            network.freeze_codes()
        return network

    @classmethod
    def save_trained(cls, codec: Network, path: Path) -> None:
        save_weights(codec, path)

    @classmethod
    def example(cls) -> dict[str, Any]:
        sizes = NetworkSizes(
            sample_rate=8000,
            spectrum_hop=8,
            rate_ratio=2,
            encoder_window=24,
            decoder_window=32,
            codebooks=3,
            codebook_size=16,
            latent=4,
            encoder_fast=6,
            encoder_fast_blocks=2,
            encoder_slow=8,
            encoder_slow_blocks=1,
            decoder_slow=8,
            decoder_slow_blocks=1,
            decoder_fast=6,
            decoder_fast_blocks=2,
            kernel=3,
            heads=2,
            head_keys=4,
        )
        return {"config": LinaCodecConfig(sizes=sizes, random_weights=True)}


def _training_settings(config: LinaCodecConfig) -> list[str]:
    """Keys that are set and change how existing weights are trained."""
    names = ("freeze_codes", *DECODER_BLOCKS.values())
    return [name for name in names if getattr(config, name) not in (None, False)]


def _with_more_blocks(network: Network, config: LinaCodecConfig) -> Network:
    counts = {}
    for name, key in DECODER_BLOCKS.items():
        count, present = getattr(config, key), getattr(network.sizes, key)
        if count is None:
            continue
        if count < present:
            raise SpecError(
                f"codec:lina: config.{key} is {count}, but these weights have {present}; set at least that"
            )
        counts[name] = count
    return network.with_decoder_blocks(**counts) if counts else network


def _random(config: LinaCodecConfig) -> Network:
    if config.weights is not None:
        raise SpecError("codec:lina: config has both weights and random_weights; remove one")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Network(config.sizes or NetworkSizes())
        network.quantizer.entries.normal_()
    return network


def _codebooks(config: LinaCodecConfig, network: Network) -> int:
    there = len(network.codebook_sizes)
    if config.codebooks is not None and config.codebooks > there:
        raise SpecError(
            f"codec:lina: config.codebooks is {config.codebooks}, but these weights have {there}; set at most that"
        )
    return config.codebooks or there
