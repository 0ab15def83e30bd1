"""Codec2 (D. Rowe) through the package pycodec2: 8 kHz speech in 0.7 to 3.2 kbit/s, with nothing to download.

A frame's natural bit fields are the codebooks, in the order in which Codec2 packs them (libcodec2 1.2,
``codec2_encode_3200`` and its siblings). Codec2 stores fields in Gray code, most significant bit first; here
they are plain indices, so that neighboring codes of a scalar field (pitch, energy, line spectral pairs) are
neighboring values. Spare bits, always zero, are no codebook.

Codec2's decoded speech is 20 ms late: for each 10 ms, the analysis window is centered on the beginning of the previous
10 ms, and the synthesis window on their end; mode 700C interpolates from another 10 ms back (libcodec2 1.2,
``analyse_one_frame``, ``synthesise``, ``newamp1_interpolate``). So ``encode`` reads that many samples beyond a frame
before it codes the frame, and decoded audio is aligned.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from lina.codecs.bit_fields import pack_fields, unpack_fields
from lina.core.audio.codec import validate_audio, validate_codes
from lina.core.errors import PluginError
from lina.core.plugin import CodecPlugin, PluginConfig


@dataclass(frozen=True)
class Layout:
    """A mode: samples per frame, bits of each field, spare bits after them, storage of fields, samples of delay."""

    hop: int
    widths: tuple[int, ...]
    spare: int = 0
    gray: bool = True
    delay: int = 160


_VOICING = (1,)
_PITCH_AND_ENERGY = (7, 5)
_JOINT_PITCH_ENERGY = (8,)
_LINE_SPECTRAL_PAIRS = (4,) * 7 + (3, 3, 2)

LAYOUTS: dict[int, Layout] = {
    3200: Layout(160, 2 * _VOICING + _PITCH_AND_ENERGY + (5,) * 10),
    2400: Layout(160, 2 * _VOICING + _JOINT_PITCH_ENERGY + _LINE_SPECTRAL_PAIRS, spare=2),
    1600: Layout(320, 2 * (2 * _VOICING + _PITCH_AND_ENERGY) + _LINE_SPECTRAL_PAIRS),
    1400: Layout(320, 2 * (2 * _VOICING + _JOINT_PITCH_ENERGY) + _LINE_SPECTRAL_PAIRS),
    1300: Layout(320, 4 * _VOICING + _PITCH_AND_ENERGY + _LINE_SPECTRAL_PAIRS),
    1200: Layout(320, 2 * (2 * _VOICING + _JOINT_PITCH_ENERGY) + (9, 9, 9), spare=1),
    # 700C: two stages of a vector quantizer, energy, pitch; the one mode stored in plain binary.
    700: Layout(320, (9, 9, 4, 6), gray=False, delay=240),
}


class Codec2Config(PluginConfig):
    mode: Literal[3200, 2400, 1600, 1400, 1300, 1200, 700] = 3200
    """Bit/s. Frames are 20 ms in 3200 and 2400, 40 ms in the others; 700 is Codec2's mode 700C."""


class Codec2(CodecPlugin):
    Config: ClassVar[type[PluginConfig]] = Codec2Config

    @classmethod
    def build(cls, *, config: Codec2Config) -> "Codec2Codec":
        return Codec2Codec(config.mode)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": Codec2Config()}


class Codec2Codec:
    """A whole ``Codec``: mono, 8 kHz. Every row is coded by a fresh Codec2, so ``encode`` is deterministic.

    ``decode`` is not: libcodec2's decoder adds phases and noise from one hidden random generator per process,
    which can be neither seeded nor saved. Two decodings of the same codes are different samples of the same
    sound, and the decoder's state cannot be copied; hence there are no streams here (core streams it through a
    window).
    """

    sample_rate = 8000
    channels = 1
    decodes_at_random = True

    def __init__(self, mode: int) -> None:
        """Raises PluginError if pycodec2 is missing."""
        self._pycodec2 = _import_pycodec2()
        self._mode = mode
        self._layout = LAYOUTS[mode]
        self.hop = self._layout.hop
        self.codebook_sizes = tuple(1 << width for width in self._layout.widths)
        self._widths = self._layout.widths + ((self._layout.spare,) if self._layout.spare else ())
        self._gray = (self._layout.gray,) * len(self._widths)

    def encode(self, audio: Float[Tensor, "B 1 samples"]) -> Int[Tensor, "B T Q"]:
        """Encode. Raises DataError for stereo, for a length that is no multiple of the hop, for NaN and infinity."""
        validate_audio(self, audio)
        pcm = (audio.detach().cpu().double() * 32768.0).round().clamp(-32768, 32767).to(torch.int16)
        rows = [self.unpack(self._encode_row(row)) for row in pcm[:, 0].numpy()]
        return torch.from_numpy(np.stack(rows)).to(audio.device)

    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B 1 samples"]:
        """Decode. Raises DataError for codes out of range."""
        validate_codes(self, codes)
        rows = [self._decode_row(self.pack(row)) for row in codes.detach().cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).to(codes.device, torch.float32).div_(32768.0)[:, None]

    def unpack(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Convert Codec2's own frames [T, bytes] to codes [T, Q]."""
        return unpack_fields(frames, self._widths, self._gray)[:, : len(self.codebook_sizes)]

    def pack(self, codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Convert codes [T, Q] to Codec2's own frames [T, bytes]."""
        spare = np.zeros((len(codes), len(self._widths) - len(self.codebook_sizes)), dtype=np.int64)
        return pack_fields(np.concatenate([codes, spare], axis=1), self._widths, self._gray)

    def _encode_row(self, pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
        coder = self._pycodec2.Codec2(self._mode)
        early = -self._layout.delay % self.hop
        frames = np.pad(pcm, (early, self._layout.delay)).reshape(-1, self.hop)
        packed = b"".join(coder.encode(frame) for frame in frames)
        late = len(frames) - len(pcm) // self.hop
        return np.frombuffer(packed, dtype=np.uint8).reshape(-1, coder.bytes_per_frame())[late:]

    def _decode_row(self, frames: NDArray[np.uint8]) -> NDArray[np.int16]:
        coder = self._pycodec2.Codec2(self._mode)
        return np.concatenate([coder.decode(frame.tobytes()) for frame in frames])


def _import_pycodec2() -> Any:
    try:
        import pycodec2
    except ImportError as error:
        raise PluginError(
            f"codec:codec2 needs the package pycodec2, which cannot be imported ({error}); "
            "pip install 'lina[codec2]'"
        ) from error
    return pycodec2
