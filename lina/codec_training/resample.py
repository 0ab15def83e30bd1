"""Changing speed and pitch together: reading audio at another rate, each row at its own."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

TAPS = 32
"""Samples that each output sample is made of."""


def resampled(
    audio: Float[Tensor, "B N"], speed: Float64[Tensor, "B"], samples: int
) -> Float[Tensor, "B samples"]:
    """Sample n of row b is ``audio`` at n * speed[b] samples after sample TAPS / 2 - 1.

    Interpolated by a Hann-windowed sinc (Smith, "Digital Audio Resampling", CCRMA), whose band ends at half the
    output's rate where that is the lower one. N must be at least samples * speed + TAPS. At speed 1 the audio is
    what it was, up to rounding.
    """
    half = TAPS // 2
    # float32 could not tell fractions of a sample apart at the end of a crop.
    places = speed[:, None] * torch.arange(samples, device=audio.device, dtype=torch.float64)
    whole = places.floor()
    distance = torch.arange(1 - half, half + 1, device=audio.device) - (places - whole).float()[..., None]
    band = (1.0 / speed).clamp(max=1.0).float()[:, None, None]
    kernel = band * torch.sinc(band * distance) * torch.cos(distance * (math.pi / TAPS)).square()
    rows = torch.arange(len(audio), device=audio.device)[:, None]
    taken = audio.unfold(1, TAPS, 1)[rows, whole.long()]
    return (taken * kernel).sum(-1)
