"""EnCodec (Defossez et al. 2022, arXiv 2210.13438): a neural codec, at 24 kHz streaming, at 48 kHz for whole
files."""

from lina.codecs.encodec.plugin import EnCodec, EnCodecConfig

__all__ = ["EnCodec", "EnCodecConfig"]
