"""EnCodec 48 kHz: stereo, whole files, in segments of one second with normalized loudness.

The release overlaps its segments by 1 % and stores each one's loudness beside the codes. A codec here has T =
samples / hop frames of codes alone, so:

- segments follow each other without overlap; their codes equal the reference's with overlap 0, bit for bit;
- the loudness of a segment is one more codebook, the last: 256 levels, 0.375 dB apart, repeated in each frame
  of the segment; the first frame's is used. That costs at most 0.1875 dB against the reference.
- instead of overlapping, each segment is decoded together with the first frames of the next one and
  cross-faded into it. With ``overlap`` 0 decoding equals the reference's with overlap 0, but for the rounded
  loudness.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.codecs.encodec.network import Network
from lina.core.audio.codec import validate_audio, validate_codes

LOUDNESS_LEVELS = 256
LOUDNESS_STEP = 0.375
"""dB; level 255 is 0 dB, a root mean square of 1."""


def loudness_code(scale: Float[Tensor, "*rows"]) -> Int[Tensor, "*rows"]:
    """Nearest level of a root mean square."""
    level = (20 * scale.log10() / LOUDNESS_STEP).round() + LOUDNESS_LEVELS - 1
    return level.clamp(0, LOUDNESS_LEVELS - 1).long()


def loudness(code: Int[Tensor, "*rows"]) -> Float[Tensor, "*rows"]:
    """Root mean square of a level."""
    return torch.pow(10.0, (code - LOUDNESS_LEVELS + 1) * LOUDNESS_STEP / 20)


class SegmentedEnCodec(nn.Module):
    """A whole ``Codec``. Its last codebook is the loudness."""

    channels = 2
    sample_rate = 48000

    def __init__(self, network: Network, hop: int, segment: int, overlap: int) -> None:
        """``segment`` and ``overlap`` in frames."""
        super().__init__()
        self.network, self.hop, self.segment, self.overlap = network, hop, segment, overlap
        self.codebook_sizes = (network.sizes.codebook_size,) * network.sizes.codebooks + (LOUDNESS_LEVELS,)

    @torch.no_grad()
    def encode(self, audio: Float[Tensor, "B 2 samples"]) -> Int[Tensor, "B T Q"]:
        validate_audio(self, audio)
        return torch.cat(
            [self._encode_segment(part) for part in torch.split(audio, self.segment * self.hop, 2)], 1
        )

    def _encode_segment(self, audio: Tensor) -> Tensor:
        mono = torch.sum(audio, 1, keepdim=True) / audio.shape[1]
        scale = mono.pow(2).mean(dim=-1, keepdim=True).sqrt() + 1e-8
        codes = self.network.encode(audio / scale)
        level = loudness_code(scale[:, 0, 0])[:, None, None]
        return torch.cat([codes, level.expand(-1, codes.shape[1], 1)], dim=2)

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B 2 samples"]:
        validate_codes(self, codes)
        time = codes.shape[1]
        parts: list[Tensor] = []
        carried: Tensor | None = None
        for start in range(0, time, self.segment):
            end = min(start + self.segment, time)
            reach = min(end + self.overlap, time)
            audio = self._decode_segment(codes[:, start:reach], own=end - start)
            body, beyond = torch.split(audio, [(end - start) * self.hop, (reach - end) * self.hop], 2)
            parts.append(body if carried is None else _fade(carried, body))
            carried = beyond if beyond.shape[-1] else None
        return torch.cat(parts, 2)

    def _decode_segment(self, codes: Tensor, own: int) -> Tensor:
        """A segment and the overlap after it, each at its own loudness."""
        scale = loudness(codes[:, [0, *([own] if codes.shape[1] > own else [])], -1])
        frames = torch.arange(codes.shape[1], device=codes.device)
        each = scale[:, (frames >= own).long()].repeat_interleave(self.hop, 1)
        audio: Tensor = self.network.decode(codes[..., :-1])
        return audio * each[:, None].to(audio.dtype)


def _fade(leaving: Tensor, coming: Tensor) -> Tensor:
    """Cross-fade from ``leaving`` into the beginning of ``coming``."""
    length = leaving.shape[-1]
    weight = (torch.arange(length, device=coming.device, dtype=coming.dtype) + 0.5) / length
    mixed = leaving * (1 - weight) + coming[..., :length] * weight
    return torch.cat([mixed, coming[..., length:]], 2)
