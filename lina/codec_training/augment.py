"""Band limits and noise, row by row, in one Fourier transform; where the audio is."""

import torch
from jaxtyping import Float
from torch import Tensor

from lina.codec_training.crops import Rows

EDGE = 0.1
"""Width of the low-pass's slope, as a part of its cutoff."""


def coloured(audio: Float[Tensor, "B N"], rows: Rows, generator: torch.Generator) -> Float[Tensor, "B N"]:
    """Low-passed at ``rows.cutoff`` (of half the rate), with noise of ``rows.noise`` times its own level.

    The noise's power falls as 1/f to the power of ``rows.tilt``. Rows that ask for neither are as they were, up to
    rounding. ``generator`` is on the audio's device. The result is clipped to [-1, 1].
    """
    samples = audio.shape[-1]
    spectrum = torch.fft.rfft(audio)
    frequency = torch.linspace(0.0, 1.0, spectrum.shape[-1], device=audio.device)
    cutoff = rows.cutoff.float()[:, None]
    passing = ((cutoff * (1.0 + EDGE) - frequency) / (cutoff * EDGE)).clamp(0.0, 1.0)
    passing = torch.sin(passing * (torch.pi / 2)).square()
    white = torch.fft.rfft(torch.randn(audio.shape, generator=generator, device=audio.device))
    # Below about 60 Hz the slope ends: there is nothing that speech could be told from.
    noise: Tensor = white * (frequency + 0.005) ** (-rows.tilt.float()[:, None] / 2)
    level = rows.noise.float()[:, None] * _level(spectrum) / _level(noise)
    changed: Tensor = torch.fft.irfft(spectrum * passing + noise * level, n=samples)
    return changed.clamp(-1.0, 1.0)


def _level(spectrum: Tensor) -> Float[Tensor, "B 1"]:
    return spectrum.abs().square().mean(-1, keepdim=True).sqrt()
