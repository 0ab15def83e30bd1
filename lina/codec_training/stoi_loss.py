"""Short-time objective intelligibility (STOI) as a differentiable loss.

Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", IEEE
Transactions on Audio, Speech, and Language Processing 19 (7), section II. Silent frames are removed there; here,
silent segments are masked.

All in float32, without synchronization with the GPU.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

WINDOW_SECONDS = 0.0256
BANDS, LOWEST_HZ = 15, 150.0
"""Number of third-octave bands, and the center of the lowest."""
SEGMENT_FRAMES = 30
"""Length of a segment in half windows: 384 ms."""
SEGMENT_HOP = 5
"""Distance of successive segments in frames."""
CLIP_DECIBEL = 15.0
"""Upper limit of the decoded envelope above the real one."""
SPEECH_ENERGY = 1e-3
"""Energy above which a segment counts as speech, relative to the loudest segment (-30 dB)."""
TINY = 1e-6


class STOILoss(nn.Module):
    """Approximation of 1 - STOI; 0 if all envelopes are proportional."""

    bands: Tensor
    window: Tensor

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.length = round(sample_rate * WINDOW_SECONDS / 2) * 2
        hz = torch.arange(self.length // 2 + 1) * (sample_rate / self.length)
        centers = LOWEST_HZ * 2 ** (torch.arange(BANDS)[:, None] / 3)
        bands = (hz >= centers * 2 ** (-1 / 6)) & (hz < centers * 2 ** (1 / 6))
        self.register_buffer("bands", bands[bands.any(1)].float(), persistent=False)
        self.register_buffer("window", torch.hann_window(self.length), persistent=False)

    def forward(
        self, decoded: Float[Tensor, "B samples"], real: Float[Tensor, "B samples"]
    ) -> Float[Tensor, ""]:
        """Mean loss of a batch of at least 0.4 s."""
        degraded, reference = self._segments(decoded.float()), self._segments(real.float())
        energy = reference.square().sum((1, 3))
        speech = (energy > SPEECH_ENERGY * energy.amax(1, keepdim=True)).float()
        degraded = degraded * (
            reference.norm(dim=-1, keepdim=True) / (degraded.norm(dim=-1, keepdim=True) + TINY)
        )
        degraded = torch.minimum(degraded, reference * (1 + 10 ** (CLIP_DECIBEL / 20)))
        degraded, reference = (side - side.mean(-1, keepdim=True) for side in (degraded, reference))
        norms = degraded.norm(dim=-1) * reference.norm(dim=-1)
        correlation = (degraded * reference).sum(-1) / (norms + TINY)
        loss: Tensor = 1 - ((correlation.mean(1) * speech).sum(1) / speech.sum(1).clamp_min(1)).mean()
        return loss

    def _segments(self, audio: Tensor) -> Float[Tensor, "B bands segments frames"]:
        """Envelopes of overlapping segments."""
        frames = torch.stft(
            audio, self.length, self.length // 2, window=self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(frames).square().sum(-1)
        return (self.bands @ power + TINY**2).sqrt().unfold(2, SEGMENT_FRAMES, SEGMENT_HOP)
