"""How well the words of decoded audio can be made out: the short-time objective intelligibility measure as a loss.

Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", IEEE
Transactions on Audio, Speech, and Language Processing 19 (7), section II. There frames without speech are cut out
first; here stretches without it do not count.

Float32 throughout; nothing here waits for a GPU.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

WINDOW_SECONDS = 0.0256
BANDS, LOWEST_HZ = 15, 150.0
"""A third of an octave wide each, and the middle of the lowest."""
FRAMES = 30
"""Half windows of a stretch: 384 ms."""
EVERY = 5
"""Frames from one stretch to the next."""
CLIP_DECIBEL = 15.0
"""How far above the real one the decoded envelope counts."""
QUIET = 1e-3
"""Stretches below this share of the loudest one's energy hold no speech (-30 dB)."""
TINY = 1e-6


class IntelligibilityDistance(nn.Module):
    """1 - STOI, nearly: 0 where all envelopes agree."""

    bands: Tensor
    window: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.length = round(sample_rate * WINDOW_SECONDS / 2) * 2
        hz = torch.arange(self.length // 2 + 1) * (sample_rate / self.length)
        middles = LOWEST_HZ * 2 ** (torch.arange(BANDS)[:, None] / 3)
        bands = (hz >= middles * 2 ** (-1 / 6)) & (hz < middles * 2 ** (1 / 6))
        self.register_buffer("bands", bands[bands.any(1)].float(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.length), persistent=False)

    def forward(
        self, decoded: Float[Tensor, "B samples"], real: Float[Tensor, "B samples"]
    ) -> Float[Tensor, ""]:
        """At least 0.4 s of audio."""
        here, there = self._stretches(decoded.float()), self._stretches(real.float())
        energy = there.square().sum((1, 3))
        spoken = (energy > QUIET * energy.amax(1, keepdim=True)).float()
        here = here * (there.norm(dim=-1, keepdim=True) / (here.norm(dim=-1, keepdim=True) + TINY))
        here = torch.minimum(here, there * (1 + 10 ** (CLIP_DECIBEL / 20)))
        here, there = (side - side.mean(-1, keepdim=True) for side in (here, there))
        agreement = (here * there).sum(-1) / (here.norm(dim=-1) * there.norm(dim=-1) + TINY)
        distance: Tensor = 1 - ((agreement.mean(1) * spoken).sum(1) / spoken.sum(1).clamp_min(1)).mean()
        return distance

    def _stretches(self, audio: Tensor) -> Float[Tensor, "B bands stretches frames"]:
        """Envelopes."""
        frames = torch.stft(
            audio, self.length, self.length // 2, window=self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(frames).square().sum(-1)
        return (self.bands @ power + TINY**2).sqrt().unfold(2, FRAMES, EVERY)
