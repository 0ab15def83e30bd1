"""Crops of audio for a step: a pure function of (pool, seed, step).

All that chance decides about a batch is drawn on the CPU, a few numbers a row (``draw``); samples are gathered,
resampled and scaled where the pool lies, on the GPU if it fits there (``cut``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int16
from torch import Tensor

from lina.codec_training.audio_pool import Pool
from lina.codec_training.decoding import FULL_SCALE
from lina.codec_training.resample import TAPS, resampled
from lina.config.codec_sections import AugmentSection

DEVICE_BYTES = 8_000_000_000
"""The largest pool that is put into a GPU's memory."""


class Rows(NamedTuple):
    """What was drawn for each row of a batch; all float64 [B], on the CPU or where the audio is computed."""

    start: Tensor
    """Sample of the pool at which the row begins."""
    low: Tensor
    """First sample of its utterance; before it is silence."""
    high: Tensor
    """One after the last."""
    gain: Tensor
    """Negative where the sign is turned."""
    speed: Tensor
    cutoff: Tensor
    """Part of the band that stays; 1 or more: all."""
    noise: Tensor
    """Amplitude of the noise against the audio's; 0: none."""
    tilt: Tensor
    """Power of 1/f in the noise's spectrum."""
    codebooks: Tensor
    """How many codebooks code the row."""


@dataclass(frozen=True)
class Plan:
    """The utterances to draw from, with what drawing needs to know of them."""

    begin: Float64[Tensor, "U"]
    end: Float64[Tensor, "U"]
    low: Float64[Tensor, "U"]
    high: Float64[Tensor, "U"]
    peak: Float64[Tensor, "U"]
    before: Float64[Tensor, "U"]
    """Samples of sound in the utterances before this one."""
    source_from: Float64[Tensor, "S"]
    source_length: Float64[Tensor, "S"]
    """Samples of sound in each source."""
    shares: Float64[Tensor, "S"]
    """Probability of a source or one before it."""


def plan(pool: Pool, numbers: Sequence[int], weights: Sequence[float]) -> Plan:
    """Over utterances in the order of the pool, where those of a source are neighbours."""
    entries = [pool.index.entries[number] for number in sorted(numbers)]

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(one, name) for one in entries], dtype=torch.float64)

    start, begin, end = column("start"), column("begin"), column("end")
    sounding = end - begin
    of_source = torch.tensor([one.source for one in entries])
    lengths = torch.zeros(len(weights), dtype=torch.float64).index_add_(0, of_source, sounding)
    shares = torch.tensor(list(weights), dtype=torch.float64) * (lengths > 0)
    return Plan(
        begin=begin,
        end=end,
        low=start,
        high=start + column("length"),
        peak=column("peak"),
        before=sounding.cumsum(0) - sounding,
        source_from=lengths.cumsum(0) - lengths,
        source_length=lengths,
        shares=shares.cumsum(0) / shares.sum(),
    )


def draw(
    of: Plan,
    seed: int,
    *,
    rows: int,
    samples: int,
    nyquist: float,
    augment: AugmentSection,
    dropout: float,
    codebooks: int,
) -> Rows:
    """Chance for one batch. ``seed`` is the step's, ``samples`` the length of a crop, ``nyquist`` in Hz."""
    generator = torch.Generator().manual_seed(seed)
    which, where, place, level, inverts, resamples, speed, filters, cutoff, sounds, snr, tilt, drops, kept = (
        torch.rand(14, rows, generator=generator, dtype=torch.float64)
    )
    source = torch.searchsorted(of.shares, which, right=True).clamp(max=len(of.shares) - 1)
    at = of.source_from[source] + where * of.source_length[source]
    one = torch.searchsorted(of.before, at, right=True) - 1
    slowest, fastest = augment.speeds
    speed = torch.where(resamples < augment.resample, slowest * (fastest / slowest) ** speed, 1.0)
    span = (samples * speed).ceil()
    begin, end = of.begin[one], of.end[one]
    centred = (begin + at - of.before[one] - span / 2).round()
    # A short utterance lies whole in its crop, anywhere; a crop of a long one lies in the utterance.
    inside = torch.minimum(torch.maximum(centred, begin), end - span)
    around = (end - span + place * (begin - end + span)).round()
    gain = 10.0 ** (_between(augment.level, level) / 20) / of.peak[one]
    narrowest = min(1.0, augment.cutoff / nyquist)
    return Rows(
        start=torch.where(end - begin >= span, inside, around),
        low=of.low[one],
        high=of.high[one],
        gain=torch.where(inverts < augment.invert, -gain, gain),
        speed=speed,
        cutoff=torch.where(filters < augment.band, _between((narrowest, 1.0), cutoff), 2.0),
        noise=torch.where(sounds < augment.noise, 10.0 ** (-_between(augment.snr, snr) / 20), 0.0),
        tilt=tilt,
        codebooks=torch.where(drops < dropout, (kept * codebooks).floor() + 1, float(codebooks)),
    )


def to_device(rows: Rows, device: torch.device) -> Rows:
    """In one copy that the CPU does not wait for."""
    if device.type == "cpu":
        return rows
    return Rows(*torch.stack(rows).pin_memory().to(device, non_blocking=True))


def cut(
    pool: Int16[Tensor, "N"], rows: Rows, samples: int, *, fastest: float, resample: bool
) -> Float[Tensor, "B samples"]:
    """The rows' audio, where ``pool`` and ``rows`` are: gathered, resampled where ``resample``, scaled."""
    before = TAPS // 2 - 1 if resample else 0
    length = math.ceil(samples * fastest) + TAPS if resample else samples
    places = rows.start.long()[:, None] - before + torch.arange(length, device=pool.device)
    audible = (places >= rows.low.long()[:, None]) & (places < rows.high.long()[:, None])
    crop = pool[places.clamp(0, len(pool) - 1)].float() * audible / FULL_SCALE
    if resample:
        crop = resampled(crop, rows.speed, samples)
    return crop * rows.gain.float()[:, None]


def _between(bounds: tuple[float, float], chance: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * chance
