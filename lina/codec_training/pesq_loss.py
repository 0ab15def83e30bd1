"""Disturbance as an ear hears it: what ITU-T P.862 (PESQ) adds up, in a form with derivatives.

As a training loss: Martín-Doñas et al. 2018, "A Deep Learning Loss Function Based on the Perceptual Evaluation of the
Speech Quality", IEEE Signal Processing Letters 25 (11). As the recommendation
does, it forgives level, short changes of gain and lasting changes of the spectrum; of these 3 dB, not 20. (A network
that learns by 20 finds the door: one came to whistle at 3.2 kHz, 26 dB above the speech there.) It does not forgive
delay: a codec keeps time.

Float32 throughout; nothing here waits for a GPU.
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
"""Corners of the critical bands, 1 Bark apart (Zwicker 1961, J. Acoust. Soc. Am. 33, 248)."""
TOP_HZ = 8000.0
"""Of the wide band (ITU-T P.862.2)."""
WINDOW_SECONDS = 0.032
LISTENED = 1e7
"""Power that both sides are brought to, of 16 bit samples between ``LEVEL_HZ``."""
LEVEL_HZ = (325.0, 3250.0)
FILTER_GAIN, FILTER_HZ = 2.82, 99.0
"""The second-order high pass of P.862.2."""
POWER_SCALE = 6.91e-4 * 512**2
"""Squared magnitudes over the window's length, to power in units of the threshold of hearing at 1 kHz."""
EXPONENT, SONES = 0.23, 0.1866
DEAD_ZONE = 0.25
"""Share of the softer one's loudness by which a difference is not heard."""
ASYMMETRY = 1.2
"""Exponent of what is added, which disturbs more than what is missing."""
LEAST_ASYMMETRY, MOST_ASYMMETRY = 3.0, 12.0
SYMMETRIC_WEIGHT, ASYMMETRIC_WEIGHT = 0.1, 0.0309
MOST = 45.0
"""Disturbance of a frame; what is above it counts a tenth, so that it still has a derivative."""
MOST_BALANCE = 2.0
"""Of powers."""
SYLLABLE_FRAMES = 20
"""Half windows that are heard as one: the worst of them counts most."""
TINY = 1e-8


class LoudnessDistance(nn.Module):
    """How much decoded audio disturbs beside real audio: 0 for none, about 2 for a poor codec.

    4.5 less this is a PESQ score before it is mapped to opinions, nearly: bands and thresholds follow formulas here,
    tables there.
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
        bark = _bark_corners(min(TOP_HZ, sample_rate / 2))
        middle = (bark[1:] + bark[:-1]) / 2
        self._keep(
            window=np.hanning(window + 1)[:-1],
            level=((hz > LEVEL_HZ[0]) & (hz < LEVEL_HZ[1])).astype(float)[:, None],
            bands=_shares(hz, _hz(bark)) * FILTER_GAIN**2 * POWER_SCALE * hz**4 / (hz**4 + FILTER_HZ**4),
            widths=np.diff(bark)[:, None],
            threshold=10 ** (_threshold_decibel(_hz(middle)) / 10)[:, None],
            # Low tones grow louder more quickly.
            exponent=EXPONENT * np.clip(6 / (middle + 2), 1, 2)[:, None] ** 0.15,
            smoothing=0.8 * 0.2 ** np.arange(3.0, -1.0, -1.0),
        )

    def _keep(self, **constants: npt.NDArray[np.floating[Any]]) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32), persistent=False)

    def forward(
        self, decoded: Float[Tensor, "B samples"], real: Float[Tensor, "B samples"]
    ) -> Float[Tensor, ""]:
        """Samples from -1 to 1, at least a window (32 ms) of them."""
        here, there = self._powers(decoded.float()), self._powers(real.float())
        there = there * self._balance(here, there)
        audible = self._audible(there)
        here = here * self._gain(self._audible(here), audible)[:, None]
        sones = self._loudness(here), self._loudness(there)
        difference = (sones[0] - sones[1]).abs()
        heard = (difference - DEAD_ZONE * torch.minimum(*sones)).relu() * self.widths
        whole = self.widths.sum()
        symmetric = (heard.square().sum(1) / whole + TINY).sqrt() * whole
        asymmetric = (heard * _asymmetry(here, there)).sum(1)
        importance = ((audible + 1e5) / 1e7) ** 0.04
        parts = (SYMMETRIC_WEIGHT, symmetric), (ASYMMETRIC_WEIGHT, asymmetric)
        return torch.stack([weight * self._over_time(part / importance) for weight, part in parts]).sum()

    def _powers(self, audio: Tensor) -> Float[Tensor, "B bands frames"]:
        """In each critical band, at the level at which speech is listened to."""
        frames = torch.stft(
            audio, self.length, self.hop, window=self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(frames).square().sum(-1) / self.length**2
        spread = 2 * self.length / self.window.square().sum()
        level = (power * self.level).sum(1, keepdim=True).mean(-1, keepdim=True) * spread
        return self.bands @ (power * (LISTENED / (level + TINY)))

    def _audible(self, powers: Tensor) -> Float[Tensor, "B frames"]:
        return (powers * (powers > self.threshold)).sum(1)

    def _balance(self, here: Tensor, there: Tensor) -> Float[Tensor, "B bands 1"]:
        """What lasting changes of the spectrum are forgiven."""
        speech = (self._audible(there) > 1e7).float()[:, None]
        lasting = [
            (powers * (powers > 100.0 * self.threshold) * speech).mean(2, keepdim=True) + 1000.0
            for powers in (here, there)
        ]
        return (lasting[0] / lasting[1]).clamp(1 / MOST_BALANCE, MOST_BALANCE)

    def _gain(self, here: Tensor, there: Tensor) -> Float[Tensor, "B frames"]:
        """What short changes of loudness are forgiven."""
        gain = (there + 5e3) / (here + 5e3)
        seen = torch.cat([gain[:, :1].expand(-1, len(self.smoothing) - 1), gain], dim=1)
        return (seen.unfold(1, len(self.smoothing), 1) * self.smoothing).sum(-1).clamp(3e-4, 5.0)

    def _loudness(self, powers: Tensor) -> Float[Tensor, "B bands frames"]:
        """In sone (Zwicker's law); nothing below the threshold of hearing."""
        above = (0.5 + 0.5 * powers / self.threshold).clamp_min(1.0) ** self.exponent - 1.0
        return SONES * (self.threshold / 0.5) ** self.exponent * above

    def _over_time(self, disturbance: Float[Tensor, "B frames"]) -> Float[Tensor, ""]:
        frames = min(2 * SYLLABLE_FRAMES, disturbance.shape[1])
        limited = disturbance.clamp_max(MOST) + 0.1 * (disturbance - MOST).relu()
        syllables = limited.unfold(1, frames, max(1, frames // 2))
        worst = (syllables.pow(6).mean(-1) + TINY) ** (1 / 6)
        return (worst.square().mean(1) + TINY).sqrt().mean()


def _asymmetry(here: Tensor, there: Tensor) -> Tensor:
    factor = ((here + 50.0) / (there + 50.0)).clamp_max(MOST_ASYMMETRY) ** ASYMMETRY
    return torch.where(factor < LEAST_ASYMMETRY, 0.0, factor.clamp_max(MOST_ASYMMETRY))


def _bark_corners(top_hz: float) -> Array:
    """Bands of a third of a Bark at the bottom and of more than half a one at the top, from where hearing begins."""
    corners = [0.157]
    while _hz(np.array(corners[-1:]))[0] < top_hz:
        corners.append(corners[-1] + 0.316 + 0.0129 * corners[-1])
    corners[-1] = float(np.interp(top_hz, CRITICAL_HZ, np.arange(len(CRITICAL_HZ))))
    return np.array(corners)


def _hz(bark: Array) -> Array:
    return np.interp(bark, np.arange(len(CRITICAL_HZ)), CRITICAL_HZ)


def _shares(hz: Array, corners: Array) -> Array:
    """[bands, frequencies]: how much of what lies around each frequency belongs to each band."""
    step = hz[1]
    low, high = hz - step / 2, hz + step / 2
    inside: Array = np.minimum(high, corners[1:, None]) - np.maximum(low, corners[:-1, None])
    share: Array = inside.clip(0.0) / step
    return share


def _threshold_decibel(hz: Array) -> Array:
    """Of hearing, in quiet (Terhardt 1979, Hearing Research 1, 155), 6 dB lower: P.862's listeners hear that well."""
    khz = hz / 1000
    decibel: Array = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4 - 6.0
    return decibel
