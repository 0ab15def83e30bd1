"""Differentiable PESQ disturbance (ITU-T P.862).

As a training loss: Martín-Doñas et al. 2018, "A Deep Learning Loss Function Based on the Perceptual Evaluation of the
Speech Quality", IEEE Signal Processing Letters 25 (11). As in the recommendation, differences of level, of short-term
gain and of the long-term spectrum are compensated, the last one by at most 3 dB instead of 20 dB: with 20 dB, a trained
codec added a whistle at 3.2 kHz, 26 dB above the speech there. Delay is not compensated.

All in float32, without synchronization with the GPU.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

Array = npt.NDArray[np.float64]

CRITICAL_HZ = (
    *(0, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000),
    *(2320, 2700, 3150, 3700, 4400, 5300, 6400, 7700, 9500, 12_000, 15_500),
)
"""Edges of the critical bands, 1 Bark apart (Zwicker 1961, J. Acoust. Soc. Am. 33, 248)."""
TOP_HZ = 8000.0
"""Upper limit of wide-band speech (ITU-T P.862.2)."""
WINDOW_SECONDS = 0.032
LISTENING_POWER = 1e7
"""Power to which both signals are scaled, of 16-bit samples between ``LEVEL_HZ``."""
LEVEL_HZ = (325.0, 3250.0)
FILTER_GAIN, FILTER_HZ = 2.82, 99.0
"""Second-order high-pass filter of P.862.2."""
POWER_SCALE = 6.91e-4 * 512**2
"""Conversion of squared magnitudes to power relative to the threshold of hearing at 1 kHz."""
EXPONENT, SONES = 0.23, 0.1866
DEAD_ZONE = 0.25
"""Inaudible difference, relative to the lower of the two loudnesses."""
ASYMMETRY = 1.2
"""Exponent of the asymmetry factor: added components disturb more than missing ones."""
MIN_ASYMMETRY, MAX_ASYMMETRY = 3.0, 12.0
SYMMETRIC_WEIGHT, ASYMMETRIC_WEIGHT = 0.1, 0.0309
MAX_DISTURBANCE = 45.0
"""Disturbance per frame above which the slope is a tenth; P.862 clips there, which leaves no gradient."""
MAX_EQUALIZATION = 2.0
"""Largest compensated power ratio of a band."""
SYLLABLE_FRAMES = 20
"""Length of a syllable in half windows; within it, disturbances are averaged with exponent 6."""
TINY = 1e-8


class PESQLoss(nn.Module):
    """PESQ disturbance of decoded audio: 0 for identical audio, about 2 for a poor codec.

    4.5 minus this approximates the raw PESQ score (before the mapping to MOS): bands and thresholds are computed from
    formulas here, and taken from tables in P.862.
    """

    window: Tensor
    level: Tensor
    bands: Tensor
    widths: Tensor
    threshold: Tensor
    exponent: Tensor
    smoothing: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        window = round(sample_rate * WINDOW_SECONDS / 4) * 4
        self.length, self.hop = window, window // 4
        hz: Array = np.arange(window // 2 + 1, dtype=np.float64) * (sample_rate / window)
        bark = _bark_edges(min(TOP_HZ, sample_rate / 2))
        middle = (bark[1:] + bark[:-1]) / 2
        self._register_constants(
            window=np.hanning(window + 1)[:-1],
            level=((hz > LEVEL_HZ[0]) & (hz < LEVEL_HZ[1])).astype(float)[:, None],
            bands=_band_weights(hz, _hz(bark))
            * FILTER_GAIN**2
            * POWER_SCALE
            * hz**4
            / (hz**4 + FILTER_HZ**4),
            widths=np.diff(bark)[:, None],
            threshold=10 ** (_threshold_decibel(_hz(middle)) / 10)[:, None],
            # Loudness grows faster with power at low frequencies.
            exponent=EXPONENT * np.clip(6 / (middle + 2), 1, 2)[:, None] ** 0.15,
            smoothing=0.8 * 0.2 ** np.arange(3.0, -1.0, -1.0),
        )

    def _register_constants(self, **constants: npt.NDArray[np.floating[Any]]) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(
        self, decoded: Float[Tensor, "B samples"], real: Float[Tensor, "B samples"]
    ) -> Float[Tensor, ""]:
        """Mean loss of a batch; samples in [-1, 1], at least one window (32 ms)."""
        degraded, reference = self._powers(decoded.float()), self._powers(real.float())
        reference = reference * self._equalization(degraded, reference)
        audible = self._audible_power(reference)
        degraded = degraded * self._gain(self._audible_power(degraded), audible)[:, None]
        sones = self._loudness(degraded), self._loudness(reference)
        difference = (sones[0] - sones[1]).abs()
        disturbance = (difference - DEAD_ZONE * torch.minimum(*sones)).relu() * self.widths
        total_width = self.widths.sum()
        symmetric = (disturbance.square().sum(1) / total_width + TINY).sqrt() * total_width
        asymmetric = (disturbance * _asymmetry(degraded, reference)).sum(1)
        importance = ((audible + 1e5) / 1e7) ** 0.04
        parts = (SYMMETRIC_WEIGHT, symmetric), (ASYMMETRIC_WEIGHT, asymmetric)
        return torch.stack([weight * self._pool_over_time(part / importance) for weight, part in parts]).sum()

    def _powers(self, audio: Tensor) -> Float[Tensor, "B bands frames"]:
        """Power per critical band, after scaling to the listening level."""
        frames = torch.stft(
            audio, self.length, self.hop, window=self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(frames).square().sum(-1) / self.length**2
        spread = 2 * self.length / self.window.square().sum()
        level = (power * self.level).sum(1, keepdim=True).mean(-1, keepdim=True) * spread
        return self.bands @ (power * (LISTENING_POWER / (level + TINY)))

    def _audible_power(self, powers: Tensor) -> Float[Tensor, "B frames"]:
        return (powers * (powers > self.threshold)).sum(1)

    def _equalization(self, degraded: Tensor, reference: Tensor) -> Float[Tensor, "B bands 1"]:
        """Factor per band that compensates differences of the long-term spectrum."""
        speech = (self._audible_power(reference) > 1e7).float()[:, None]
        means = [
            (powers * (powers > 100.0 * self.threshold) * speech).mean(2, keepdim=True) + 1000.0
            for powers in (degraded, reference)
        ]
        return (means[0] / means[1]).clamp(1 / MAX_EQUALIZATION, MAX_EQUALIZATION)

    def _gain(self, degraded: Tensor, reference: Tensor) -> Float[Tensor, "B frames"]:
        """Factor per frame that compensates short-term changes of gain, from audible powers."""
        gain = (reference + 5e3) / (degraded + 5e3)
        padded = torch.cat([gain[:, :1].expand(-1, len(self.smoothing) - 1), gain], dim=1)
        return (padded.unfold(1, len(self.smoothing), 1) * self.smoothing).sum(-1).clamp(3e-4, 5.0)

    def _loudness(self, powers: Tensor) -> Float[Tensor, "B bands frames"]:
        """Loudness in sone by Zwicker's law; 0 below the threshold of hearing."""
        above = (0.5 + 0.5 * powers / self.threshold).clamp_min(1.0) ** self.exponent - 1.0
        return SONES * (self.threshold / 0.5) ** self.exponent * above

    def _pool_over_time(self, disturbance: Float[Tensor, "B frames"]) -> Float[Tensor, ""]:
        frames = min(2 * SYLLABLE_FRAMES, disturbance.shape[1])
        limited = disturbance.clamp_max(MAX_DISTURBANCE) + 0.1 * (disturbance - MAX_DISTURBANCE).relu()
        syllables = limited.unfold(1, frames, max(1, frames // 2))
        worst = (syllables.pow(6).mean(-1) + TINY) ** (1 / 6)
        return (worst.square().mean(1) + TINY).sqrt().mean()


def _asymmetry(degraded: Tensor, reference: Tensor) -> Tensor:
    factor = ((degraded + 50.0) / (reference + 50.0)).clamp_max(MAX_ASYMMETRY) ** ASYMMETRY
    return torch.where(factor < MIN_ASYMMETRY, 0.0, factor.clamp_max(MAX_ASYMMETRY))


def _bark_edges(top_hz: float) -> Array:
    """Edges of bands whose width grows from a third of a Bark to more than half a Bark."""
    edges = [0.157]
    while _hz(np.array(edges[-1:]))[0] < top_hz:
        edges.append(edges[-1] + 0.316 + 0.0129 * edges[-1])
    edges[-1] = float(np.interp(top_hz, CRITICAL_HZ, np.arange(len(CRITICAL_HZ))))
    return np.array(edges)


def _hz(bark: Array) -> Array:
    return np.interp(bark, np.arange(len(CRITICAL_HZ)), CRITICAL_HZ)


def _band_weights(hz: Array, edges: Array) -> Array:
    """[bands, frequencies]: share of each frequency bin that lies in each band."""
    step = hz[1]
    low, high = hz - step / 2, hz + step / 2
    inside: Array = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    share: Array = inside.clip(0.0) / step
    return share


def _threshold_decibel(hz: Array) -> Array:
    """Threshold of hearing in quiet (Terhardt 1979, Hearing Research 1, 155), lowered by 6 dB to match P.862."""
    khz = hz / 1000
    decibel: Array = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4 - 6.0
    return decibel
