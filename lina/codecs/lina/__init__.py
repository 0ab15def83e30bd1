"""Lina's own neural codec: 24 kHz speech, 25 frames per second, residual codebooks of 1024, causal and small."""

from lina.codecs.lina.plugin import LinaCodec, LinaCodecConfig

__all__ = ["LinaCodec", "LinaCodecConfig"]
