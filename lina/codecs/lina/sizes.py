"""Sizes of a lina codec, stored in its weights file."""

from typing import Annotated

from pydantic import Field, model_validator

from lina.core.plugin import PluginConfig

Width = Annotated[int, Field(ge=1, le=65_536)]
Depth = Annotated[int, Field(ge=0, le=1000)]


class NetworkSizes(PluginConfig):
    """A frame of codes is ``rate_ratio`` spectra; a spectrum advances by ``spectrum_hop`` samples."""

    sample_rate: Annotated[int, Field(ge=1000, le=384_000)] = 24_000
    """Hz."""
    spectrum_hop: Annotated[int, Field(ge=1, le=65_536)] = 240
    """Samples between two spectra."""
    rate_ratio: Annotated[int, Field(ge=1, le=256)] = 4
    """Spectra per frame of codes."""
    encoder_window: Annotated[int, Field(ge=2, le=65_536)] = 960
    """Samples of a spectrum of the encoder."""
    decoder_window: Annotated[int, Field(ge=2, le=65_536)] = 960
    """Samples of a spectrum of the decoder: a multiple of ``spectrum_hop``."""
    phase_hz: Annotated[float, Field(ge=0.0)] = 4000.0
    """Hz up to which the encoder reads phases; above it reads magnitudes alone."""
    lookahead: Annotated[int, Field(ge=0, le=64)] = 1
    """Lookahead of the encoder in frames: its latency."""
    codebooks: Annotated[int, Field(ge=1, le=64)] = 8
    codebook_size: Annotated[int, Field(ge=2, le=65_536)] = 1024
    latent: Width = 64
    """Channels of the quantized latents."""
    encoder_fast: Width = 144
    """Channels of the encoder at the rate of spectra."""
    encoder_fast_blocks: Depth = 3
    encoder_slow: Width = 256
    """Channels of the encoder at the rate of frames."""
    encoder_slow_blocks: Depth = 2
    decoder_slow: Width = 256
    decoder_slow_blocks: Depth = 2
    decoder_fast: Width = 192
    decoder_fast_blocks: Depth = 4
    fast_expansion: Annotated[int, Field(ge=1, le=16)] = 3
    """Inner width of a block over its channels, at the rate of spectra."""
    slow_expansion: Annotated[int, Field(ge=1, le=16)] = 2
    """The same, at the rate of frames."""
    kernel: Annotated[int, Field(ge=2, le=255)] = 7
    """Kernel of a block's convolution, in frames."""
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    """Heads of the retention at the rate of frames."""
    head_keys: Width = 32
    """Key channels of each."""

    @property
    def hop(self) -> int:
        """Samples per frame of codes."""
        return self.spectrum_hop * self.rate_ratio

    @model_validator(mode="after")
    def _windows_fit(self) -> "NetworkSizes":
        if self.decoder_window % self.spectrum_hop or self.decoder_window < 2 * self.spectrum_hop:
            raise ValueError(
                f"decoder_window = {self.decoder_window} must be at least twice spectrum_hop = "
                f"{self.spectrum_hop}, and a multiple of it"
            )
        if self.encoder_window < self.spectrum_hop:
            raise ValueError(
                f"encoder_window = {self.encoder_window} must be at least spectrum_hop = {self.spectrum_hop}"
            )
        for name in ("encoder_slow", "decoder_slow"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} = {getattr(self, name)} must be a multiple of heads = {self.heads}")
        return self
