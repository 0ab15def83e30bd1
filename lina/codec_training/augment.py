"""Augmentation of a batch on its device, with settings per row: resampling, band limits and noise."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

TAPS = 32
"""Length of the interpolation kernel in samples."""
EDGE = 0.1
"""Width of the low-pass transition band, relative to the cutoff."""


def resample(
    audio: Float[Tensor, "B N"], speed: Float64[Tensor, "B"], samples: int
) -> Float[Tensor, "B samples"]:
    """Change speed and pitch together: sample n of row b is interpolated at n * speed[b] + TAPS / 2 - 1.

    Hann-windowed sinc interpolation (Smith, "Digital Audio Resampling", CCRMA), band-limited to the lower of the
    input's and the output's Nyquist frequency. N is at least samples * speed + TAPS. Speed 1 is the identity, up to
    rounding.
    """
    half = TAPS // 2
    # float32 has no resolution for fractions of a sample at the end of a crop.
    positions = speed[:, None] * torch.arange(samples, device=audio.device, dtype=torch.float64)
    whole = positions.floor()
    distance = torch.arange(1 - half, half + 1, device=audio.device) - (positions - whole).float()[..., None]
    band = (1.0 / speed).clamp(max=1.0).float()[:, None, None]
    kernel = band * torch.sinc(band * distance) * torch.cos(distance * (math.pi / TAPS)).square()
    rows = torch.arange(len(audio), device=audio.device)[:, None]
    return (audio.unfold(1, TAPS, 1)[rows, whole.long()] * kernel).sum(-1)


def add_band_limit_and_noise(
    audio: Float[Tensor, "B N"],
    *,
    cutoff: Float64[Tensor, "B"],
    noise: Float64[Tensor, "B"],
    tilt: Float64[Tensor, "B"],
    white: Float[Tensor, "B N"],
) -> Float[Tensor, "B N"]:
    """Low-pass each row and add noise, in one Fourier transform; clipped to [-1, 1].

    Args:
        audio: samples in [-1, 1].
        cutoff: relative to the Nyquist frequency; 2 leaves the row as it is, up to rounding.
        noise: RMS of the noise relative to that of the row; 0 adds none.
        tilt: exponent of the noise's 1/f power spectrum.
        white: random numbers of a normal distribution, from which the noise is made.
    """
    samples = audio.shape[-1]
    spectrum = torch.fft.rfft(audio)
    frequency = torch.linspace(0.0, 1.0, spectrum.shape[-1], device=audio.device)
    edge = cutoff.float()[:, None]
    response = ((edge * (1.0 + EDGE) - frequency) / (edge * EDGE)).clamp(0.0, 1.0)
    response = torch.sin(response * (torch.pi / 2)).square()
    # The offset ends the slope below about 60 Hz, where there is no speech to mask.
    tilted: Tensor = torch.fft.rfft(white) * (frequency + 0.005) ** (-tilt.float()[:, None] / 2)
    level = noise.float()[:, None] * _rms(spectrum) / _rms(tilted)
    changed: Tensor = torch.fft.irfft(spectrum * response + tilted * level, n=samples)
    return changed.clamp(-1.0, 1.0)


def _rms(spectrum: Tensor) -> Float[Tensor, "B 1"]:
    return spectrum.abs().square().mean(-1, keepdim=True).sqrt()
