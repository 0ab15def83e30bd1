"""Multi-resolution STFT discriminators and multi-period discriminators.

2-D convolutions over complex spectra at several resolutions follow Zeghidour et al. 2021 (SoundStream, arXiv
2107.03312, section III.D) and Défossez et al. 2022 (EnCodec, arXiv 2210.13438, section 3.4); those over audio folded
at a period follow Kong et al. 2020 (HiFi-GAN, arXiv 2010.05646, section 2.3).

Unlike theirs, inputs are brought to about unit variance and layers keep it (He et al. 2015, arXiv 1502.01852): with
PyTorch's own initial weights logits stay near zero for thousands of steps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from lina.config.codec_spec import DiscriminatorsSection

SLOPE = 0.1
"""Negative slope of the leaky ReLUs."""
COMPRESSION, QUIET = 0.3, 1e-3
"""Exponent of the spectra's magnitudes, about that of loudness, and the magnitude below which they fall linearly: high
frequencies of speech are 40 dB softer than low ones."""
GAIN = 5.0
"""Factor of the folded audio: about the inverse of the standard deviation of speech at the peak level of crops."""


class DiscriminatorOutputs(NamedTuple):
    """Outputs of all discriminators for one batch."""

    logits: list[Tensor]
    """A map per discriminator; high for real audio."""
    features: list[list[Tensor]]
    """Outputs of the hidden layers of each discriminator."""

    def split(self, rows: int) -> "tuple[DiscriminatorOutputs, DiscriminatorOutputs]":
        """Split the batch after ``rows`` rows."""
        sides = (
            DiscriminatorOutputs(
                [one[part] for one in self.logits],
                [[layer[part] for layer in one] for one in self.features],
            )
            for part in (slice(None, rows), slice(rows, None))
        )
        first, rest = sides
        return first, rest


class Discriminators(nn.Module):
    """All discriminators. ``views`` computes their inputs, once per signal."""

    def __init__(self, section: DiscriminatorsSection) -> None:
        super().__init__()
        self.windows, self.periods = section.windows, section.periods
        self.spectral = nn.ModuleList(_spectral(section.channels) for _ in section.windows)
        period_channels = section.period_channels or section.channels
        self.periodic = nn.ModuleList(_periodic(period_channels) for _ in section.periods)
        for place, window in enumerate(section.windows):
            self.register_buffer(f"window_{place}", torch.hann_window(window), persistent=False)

    def views(self, audio: Float[Tensor, "B samples"]) -> list[Float[Tensor, "B channels time width"]]:
        """Real and imaginary part of the compressed STFT per window, and the audio folded at each period."""
        audio = audio.float()
        views = []
        for place, window in enumerate(self.windows):
            frames = torch.stft(
                audio,
                n_fft=window,
                hop_length=window // 4,
                window=getattr(self, f"window_{place}"),
                normalized=True,
                pad_mode="constant",
                return_complex=True,
            )
            views.append(_compress(torch.view_as_real(frames)).permute(0, 3, 2, 1))
        for period in self.periods:
            padded = nn.functional.pad(GAIN * audio, (0, -audio.shape[-1] % period))
            views.append(padded.reshape(len(audio), 1, -1, period))
        return [one.contiguous(memory_format=torch.channels_last) for one in views]

    def forward(self, views: Sequence[Tensor]) -> DiscriminatorOutputs:
        outputs = DiscriminatorOutputs([], [])
        for layers, view in zip((*self.spectral, *self.periodic), views, strict=True):
            features, hidden = [], view
            *inner, last = layers
            for layer in inner:
                hidden = nn.functional.leaky_relu(layer(hidden), SLOPE)
                features.append(hidden)
            outputs.logits.append(last(hidden))
            outputs.features.append(features)
        return outputs


def _compress(spectra: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 2"]:
    """Raise magnitudes to the power ``COMPRESSION``; phases stay."""
    power = spectra.square().sum(-1, keepdim=True).clamp_min(QUIET**2)
    return spectra * power.pow((COMPRESSION - 1.0) / 2)


def _spectral(channels: int) -> nn.ModuleList:
    """Convolutions over [time, frequency]; the first four layers halve the frequencies, which keeps them cheap."""
    return nn.ModuleList(
        [
            _convolution(2, channels, (3, 9), (1, 2)),
            _convolution(channels, channels, (3, 9), (1, 2)),
            _convolution(channels, 2 * channels, (3, 9), (1, 2)),
            _convolution(2 * channels, 2 * channels, (3, 9), (1, 2)),
            _convolution(2 * channels, 2 * channels, (3, 3)),
            _convolution(2 * channels, 1, (3, 3)),
        ]
    )


def _periodic(channels: int) -> nn.ModuleList:
    """Convolutions over [time, period] with kernels of width 1: the columns are independent.

    Kernels and strides are HiFi-GAN's, at 32, 64, 128, 256 and 256 channels instead of 32, 128, 512, 1024 and 1024.
    """
    return nn.ModuleList(
        [
            _convolution(1, channels, (5, 1), (3, 1)),
            _convolution(channels, 2 * channels, (5, 1), (3, 1)),
            _convolution(2 * channels, 4 * channels, (5, 1), (3, 1)),
            _convolution(4 * channels, 8 * channels, (5, 1), (3, 1)),
            _convolution(8 * channels, 8 * channels, (5, 1)),
            _convolution(8 * channels, 1, (3, 1)),
        ]
    )


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    nn.init.kaiming_normal_(convolution.weight, a=SLOPE)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    normalized: nn.Module = weight_norm(convolution)
    return normalized
