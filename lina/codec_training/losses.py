"""Codec losses: multi-resolution mel distance, adversarial loss, feature matching.

All in float32, without synchronization with the GPU.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.audio.mel import mel_filters

MEL_WINDOWS = (32, 64, 128, 256, 512, 1024, 2048)
MEL_BANDS = (5, 10, 20, 40, 80, 160, 320)
SPECTRAL_WINDOWS = (2048, 512)
FLOOR = 1e-5
"""Lower bound of magnitudes (-100 dB)."""

Features = Sequence[Sequence[Tensor]]
"""Outputs of the hidden layers of each discriminator."""
DiscriminatorLossKind = Literal["hinge", "least_squares"]


class MelDistance(nn.Module):
    """Multi-resolution mel distance: mean absolute difference of log10 mel magnitudes, summed over window lengths.

    Seven windows of 32 to 2048 samples with 5 to 320 bands and a hop of a quarter of the window (Kumar et al. 2023,
    "High-Fidelity Audio Compression with Improved RVQGAN", arXiv 2306.06546, section 3.3).
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        for place, (window, count) in enumerate(zip(MEL_WINDOWS, MEL_BANDS, strict=True)):
            self.register_buffer(f"window_{place}", torch.hann_window(window), persistent=False)
            filters = mel_filters(sample_rate, window, count)
            # The lowest bands of a short window lie between two of its frequency bins and would be empty.
            self.register_buffer(f"filters_{place}", filters[filters.sum(1) > 0], persistent=False)

    def spectra(self, audio: Float[Tensor, "B samples"]) -> list[Float[Tensor, "B mels frames"]]:
        """log10 mel magnitudes, one tensor per window."""
        return [self._spectrum(audio.float(), place) for place in range(len(MEL_WINDOWS))]

    def forward(self, audio: Float[Tensor, "B samples"], real: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Distance of ``audio`` to the target whose ``spectra`` are ``real``."""
        parts = [(one - other).abs().mean() for one, other in zip(self.spectra(audio), real, strict=True)]
        return torch.stack(parts).sum()

    def _spectrum(self, audio: Tensor, place: int) -> Tensor:
        window: Tensor = getattr(self, f"window_{place}")
        frames = torch.stft(
            audio,
            n_fft=MEL_WINDOWS[place],
            hop_length=MEL_WINDOWS[place] // 4,
            window=window,
            pad_mode="constant",
            return_complex=True,
        )
        # The square root is not differentiable at zero.
        magnitude = torch.view_as_real(frames).square().sum(-1).clamp_min(FLOOR**2).sqrt()
        filters: Tensor = getattr(self, f"filters_{place}")
        return (filters @ magnitude).clamp_min(FLOOR).log10()


def spectral_distance(
    one: Float[Tensor, "B samples"], other: Float[Tensor, "B samples"]
) -> Float[Tensor, ""]:
    """Mean absolute difference of log10 magnitudes, averaged over the resolutions."""
    parts = []
    for window in SPECTRAL_WINDOWS:
        hann = torch.hann_window(window, device=one.device)
        sides = (
            torch.stft(
                side.float(), window, window // 4, window=hann, pad_mode="constant", return_complex=True
            )
            for side in (one, other)
        )
        first, second = (side.abs().clamp_min(FLOOR).log10() for side in sides)
        parts.append((first - second).abs().mean())
    return torch.stack(parts).mean()


def discriminator_loss(
    real: Sequence[Tensor], fake: Sequence[Tensor], kind: DiscriminatorLossKind
) -> Float[Tensor, ""]:
    """Loss of the discriminators on their logits, summed over discriminators.

    Hinge: Lim and Ye 2017, arXiv 1705.02894; least squares: Mao et al. 2017, arXiv 1611.04076.
    """
    if kind == "hinge":
        parts = [
            (1 - on_real.float()).relu().mean() + (1 + on_fake.float()).relu().mean()
            for on_real, on_fake in zip(real, fake, strict=True)
        ]
    else:
        parts = [
            (1 - on_real.float()).square().mean() + on_fake.float().square().mean()
            for on_real, on_fake in zip(real, fake, strict=True)
        ]
    return torch.stack(parts).sum()


def adversarial_loss(fake: Sequence[Tensor], kind: DiscriminatorLossKind) -> Float[Tensor, ""]:
    """Adversarial loss of the codec on the logits for its audio, summed over discriminators."""
    if kind == "hinge":
        return torch.stack([-one.float().mean() for one in fake]).sum()
    return torch.stack([(1 - one.float()).square().mean() for one in fake]).sum()


def feature_distance(real: Features, fake: Features) -> Float[Tensor, ""]:
    """Feature matching: mean absolute difference relative to the real features' mean magnitude, summed over layers.

    After Kumar et al. 2019 (MelGAN, arXiv 1910.06711), normalized as by Défossez et al. 2022 (EnCodec, arXiv
    2210.13438, section 3.4), so that the scale of a discriminator's features has no influence. The magnitude is that of
    this rank's rows, so several ranks differ a little from one.
    """
    parts = [
        (one.detach() - other).abs().mean(dtype=torch.float32)
        / one.detach().abs().mean(dtype=torch.float32).clamp_min(1e-6)
        for reals, fakes in zip(real, fake, strict=True)
        for one, other in zip(reals, fakes, strict=True)
    ]
    return torch.stack(parts).sum()
