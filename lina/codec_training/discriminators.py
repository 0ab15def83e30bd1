"""Networks that tell decoded audio from real audio, by its spectrum or by its period.

Complex spectra at several resolutions through 2-D convolutions as by Zeghidour et al. 2021 (SoundStream, arXiv
2107.03312, section III.D) and Défossez et al. 2022 (EnCodec, arXiv 2210.13438, section 3.4); audio folded at periods
as by Kong et al. 2020 (HiFi-GAN, arXiv 2010.05646, section 2.3).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from lina.config.codec_sections import DiscriminatorsSection

SLOPE = 0.1
"""Of leaky rectifiers below zero."""


class Judged(NamedTuple):
    verdicts: list[Tensor]
    """One map a discriminator; high for real."""
    features: list[list[Tensor]]

    def split(self, rows: int) -> "tuple[Judged, Judged]":
        """The first ``rows`` rows, and the rest."""
        sides = (
            Judged(
                [one[part] for one in self.verdicts],
                [[layer[part] for layer in one] for one in self.features],
            )
            for part in (slice(None, rows), slice(rows, None))
        )
        first, rest = sides
        return first, rest


class Discriminators(nn.Module):
    """All of them. ``views`` is what they look at, so that it is computed once for real and once for decoded audio."""

    def __init__(self, section: DiscriminatorsSection) -> None:
        super().__init__()
        self.windows, self.periods = section.windows, section.periods
        self.spectral = nn.ModuleList(_spectral(section.channels) for _ in section.windows)
        self.periodic = nn.ModuleList(_periodic(section.channels) for _ in section.periods)
        for place, window in enumerate(section.windows):
            self.register_buffer(f"window_{place}", torch.hann_window(window), persistent=False)

    def views(self, audio: Float[Tensor, "B samples"]) -> list[Float[Tensor, "B channels time width"]]:
        """Real and imaginary parts of each spectrum, and the audio folded at each period."""
        audio = audio.float()
        seen = []
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
            seen.append(torch.view_as_real(frames).permute(0, 3, 2, 1))
        for period in self.periods:
            padded = nn.functional.pad(audio, (0, -audio.shape[-1] % period))
            seen.append(padded.reshape(len(audio), 1, -1, period))
        return [one.contiguous(memory_format=torch.channels_last) for one in seen]

    def forward(self, views: Sequence[Tensor]) -> Judged:
        judged = Judged([], [])
        for layers, view in zip((*self.spectral, *self.periodic), views, strict=True):
            features, hidden = [], view
            *inner, last = layers
            for layer in inner:
                hidden = nn.functional.leaky_relu(layer(hidden), SLOPE)
                features.append(hidden)
            judged.verdicts.append(last(hidden))
            judged.features.append(features)
        return judged


def _spectral(channels: int) -> nn.ModuleList:
    """Over [time, frequency]; frequencies are halved four times, from the first layer on: it is quick."""
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
    """Over [time, period]; every column is seen alone."""
    return nn.ModuleList(
        [
            _convolution(1, channels, (5, 1), (3, 1)),
            _convolution(channels, 2 * channels, (5, 1), (3, 1)),
            _convolution(2 * channels, 4 * channels, (5, 1), (3, 1)),
            _convolution(4 * channels, 4 * channels, (5, 1)),
            _convolution(4 * channels, 1, (3, 1)),
        ]
    )


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    normed: nn.Module = weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))
    return normed
