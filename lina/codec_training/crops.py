"""Random crops of the audio pool, as a pure function of (pool, seed).

``draw_crops`` draws all random numbers of a batch on the CPU, a few per row; ``extract_crops`` gathers, resamples and
scales the samples on the pool's device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int16
from torch import Tensor

from lina.codec_training.audio_pool import AudioPool
from lina.codec_training.augment import TAPS, resample
from lina.codec_training.decoding import FULL_SCALE
from lina.config.codec_spec import AugmentSection

DEVICE_BYTES = 8_000_000_000
"""Largest pool that is copied into GPU memory."""


class CropParameters(NamedTuple):
    """Random parameters of each row of a batch; all float64 [B]."""

    start: Tensor
    """Pool index of the first sample of the row."""
    utterance_start: Tensor
    """Pool index of the first sample of its utterance; the row is silent before it."""
    utterance_end: Tensor
    """Pool index after the last sample of its utterance."""
    gain: Tensor
    """Negative for an inverted polarity."""
    speed: Tensor
    cutoff: Tensor
    """Low-pass cutoff relative to the Nyquist frequency; at least 1: no low-pass."""
    noise: Tensor
    """Noise amplitude relative to the audio; 0: none."""
    tilt: Tensor
    """Exponent of the noise's 1/f spectrum."""
    codebooks: Tensor
    """Number of codebooks that code the row."""


@dataclass(frozen=True)
class CropDistribution:
    """Distribution over crops: by weight over sources, uniform over the sound within a source.

    U utterances, S sources; positions and lengths are in samples of the pool.
    """

    begin: Float64[Tensor, "U"]
    """First sample of sound."""
    end: Float64[Tensor, "U"]
    utterance_start: Float64[Tensor, "U"]
    utterance_end: Float64[Tensor, "U"]
    peak: Float64[Tensor, "U"]
    offset: Float64[Tensor, "U"]
    """Total length of sound in the preceding utterances."""
    source_offset: Float64[Tensor, "S"]
    source_length: Float64[Tensor, "S"]
    """Total length of sound per source."""
    cumulative_weights: Float64[Tensor, "S"]


def build_distribution(pool: AudioPool, numbers: Sequence[int], weights: Sequence[float]) -> CropDistribution:
    """Distribution over crops of the utterances ``numbers``, with a weight per source.

    Relies on the order of the pool, in which the utterances of a source are contiguous.
    """
    entries = [pool.index.entries[number] for number in sorted(numbers)]

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(entry, name) for entry in entries], dtype=torch.float64)

    start, begin, end = column("start"), column("begin"), column("end")
    sound = end - begin
    source = torch.tensor([entry.source for entry in entries])
    lengths = torch.zeros(len(weights), dtype=torch.float64).index_add_(0, source, sound)
    shares = torch.tensor(list(weights), dtype=torch.float64) * (lengths > 0)
    return CropDistribution(
        begin=begin,
        end=end,
        utterance_start=start,
        utterance_end=start + column("length"),
        peak=column("peak"),
        offset=sound.cumsum(0) - sound,
        source_offset=lengths.cumsum(0) - lengths,
        source_length=lengths,
        cumulative_weights=shares.cumsum(0) / shares.sum(),
    )


def draw_crops(
    distribution: CropDistribution,
    seed: int,
    *,
    rows: int,
    samples: int,
    nyquist: float,
    augment: AugmentSection,
    dropout: float,
    codebooks: int,
    dropout_codebooks: Sequence[int] = (),
) -> CropParameters:
    """Draw the parameters of a batch.

    Args:
        seed: of the training step.
        rows: batch size.
        samples: length of a crop.
        nyquist: Hz.
        dropout: probability of coding a row with a random number of codebooks.
        codebooks: number of codebooks of the codec.
        dropout_codebooks: numbers that are drawn with equal probability; 1 to ``codebooks`` if empty.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(14, rows, generator=generator, dtype=torch.float64).unbind()
    pick_source, pick_position, placement, level, invert, change_speed, speed = uniform[:7]
    low_pass, cutoff, add_noise, snr, tilt, drop, count = uniform[7:]
    weights = distribution.cumulative_weights
    source = torch.searchsorted(weights, pick_source, right=True).clamp(max=len(weights) - 1)
    position = distribution.source_offset[source] + pick_position * distribution.source_length[source]
    utterance = torch.searchsorted(distribution.offset, position, right=True) - 1
    slowest, fastest = augment.speeds
    speed = torch.where(change_speed < augment.resample, slowest * (fastest / slowest) ** speed, 1.0)
    span = (samples * speed).ceil()
    begin, end = distribution.begin[utterance], distribution.end[utterance]
    centered = (begin + position - distribution.offset[utterance] - span / 2).round()
    # A crop of a long utterance lies inside it; a short utterance lies inside its crop, at a random position.
    inside = torch.minimum(torch.maximum(centered, begin), end - span)
    around = (end - span + placement * (begin - end + span)).round()
    gain = 10.0 ** (_interpolate(augment.level, level) / 20) / distribution.peak[utterance]
    numbers = torch.tensor(list(dropout_codebooks) or range(1, codebooks + 1), dtype=torch.float64)
    narrowest = min(1.0, augment.cutoff / nyquist)
    return CropParameters(
        start=torch.where(end - begin >= span, inside, around),
        utterance_start=distribution.utterance_start[utterance],
        utterance_end=distribution.utterance_end[utterance],
        gain=torch.where(invert < augment.invert, -gain, gain),
        speed=speed,
        cutoff=torch.where(low_pass < augment.band, _interpolate((narrowest, 1.0), cutoff), 2.0),
        noise=torch.where(add_noise < augment.noise, 10.0 ** (-_interpolate(augment.snr, snr) / 20), 0.0),
        tilt=tilt,
        codebooks=torch.where(drop < dropout, numbers[(count * len(numbers)).long()], float(codebooks)),
    )


def to_device(crops: CropParameters, device: torch.device) -> CropParameters:
    """Copy to ``device`` in one asynchronous transfer."""
    if device.type == "cpu":
        return crops
    return CropParameters(*torch.stack(crops).pin_memory().to(device, non_blocking=True))


def extract_crops(
    pool: Int16[Tensor, "N"], crops: CropParameters, samples: int, *, fastest: float | None
) -> Float[Tensor, "B samples"]:
    """Gather, resample and scale the crops; ``pool`` and ``crops`` are on one device.

    Args:
        fastest: upper bound of ``crops.speed``; None skips the resampling.
    """
    before = TAPS // 2 - 1 if fastest is not None else 0
    length = math.ceil(samples * fastest) + TAPS if fastest is not None else samples
    positions = crops.start.long()[:, None] - before + torch.arange(length, device=pool.device)
    first, after_last = crops.utterance_start.long()[:, None], crops.utterance_end.long()[:, None]
    mask = (positions >= first) & (positions < after_last)
    audio = pool[positions.clamp(0, len(pool) - 1)].float() * mask / FULL_SCALE
    if fastest is not None:
        audio = resample(audio, crops.speed, samples)
    return audio * crops.gain.float()[:, None]


def _interpolate(bounds: tuple[float, float], uniform: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * uniform
