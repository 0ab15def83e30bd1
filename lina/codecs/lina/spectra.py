"""Conversion between samples and short-time spectra, as streams: windows of the encoder end at their frame, windows of
the decoder begin there, so neither has latency.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lina.codecs.lina.sizes import NetworkSizes

QUIET = 1e-3
"""Floor of magnitudes: about -110 dB of full scale, for a window of 960 samples."""
COMPRESSION = 0.3
"""Exponent of magnitudes where phases are read: roughly loudness."""
LOUDEST = 6.0
"""Largest log magnitude of the decoder: above full scale."""


class Analysis(nn.Module):
    """Audio [B, N] to features of the encoder: log magnitudes, and compressed complex values of low frequencies.

    Its state is the past samples of the next window.
    """

    window: Tensor

    def __init__(self, sizes: NetworkSizes) -> None:
        super().__init__()
        length = sizes.encoder_window
        self.hop = sizes.spectrum_hop
        self.bins = length // 2 + 1
        self.low = min(self.bins, int(sizes.phase_hz * length / sizes.sample_rate))
        self.channels = self.bins + 2 * self.low
        self.register_buffer(
            "window", torch.hann_window(length, dtype=torch.float64).float(), persistent=False
        )

    def initial_state(self, batch: int) -> Float[Tensor, "B past"]:
        return self.window.new_zeros(batch, len(self.window) - self.hop)

    def forward(
        self, audio: Float[Tensor, "B N"], state: Float[Tensor, "B past"]
    ) -> tuple[Float[Tensor, "B S channels"], Float[Tensor, "B past"]]:
        seen = torch.cat([state, audio], dim=1)
        frames = seen.unfold(1, len(self.window), self.hop) * self.window
        spectra = torch.fft.rfft(frames)
        magnitude = spectra.abs()
        low = spectra[..., : self.low]
        low = low * magnitude[..., : self.low].clamp(min=QUIET).pow(COMPRESSION - 1.0)
        # Shifted and scaled to about unit variance for speech.
        loud = (torch.log(magnitude + QUIET) + 2.0) / 3.0
        return torch.cat([loud, low.real, low.imag], dim=-1), seen[:, audio.shape[1] :]


class Synthesis(nn.Module):
    """Vectors [B, S, C] to audio [B, S * hop]: magnitudes and phases of one window each (Vocos, Siuzdak 2023, arXiv
    2306.00814, section 3.3), by overlap-add.

    A window begins with its frame and overlaps the next ones. Its state is the sum so far for those.
    """

    window: Tensor

    def __init__(self, sizes: NetworkSizes, width: int) -> None:
        super().__init__()
        length = sizes.decoder_window
        self.hop = sizes.spectrum_hop
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 2 * (length // 2 + 1))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        # Overlapping windows add up to 1.
        window = torch.hann_window(length, dtype=torch.float64) * (2 * self.hop / length)
        self.register_buffer("window", window.float(), persistent=False)

    def initial_state(self, batch: int) -> Float[Tensor, "B ahead"]:
        return self.window.new_zeros(batch, len(self.window) - self.hop)

    def forward(
        self, x: Float[Tensor, "B S C"], state: Float[Tensor, "B ahead"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B ahead"]]:
        pieces = self.stretches(x).unflatten(-1, (-1, self.hop))  # [B, S, overlap, hop]
        overlap = pieces.shape[2]
        overlapped = F.pad(state.unflatten(1, (-1, self.hop)), (0, 0, 0, x.shape[1]))
        for lag, piece in enumerate(pieces.unbind(2)):
            overlapped = overlapped + F.pad(piece, (0, 0, lag, overlap - 1 - lag))
        audio = overlapped.flatten(1)
        samples = x.shape[1] * self.hop
        return audio[:, :samples], audio[:, samples:]

    def stretches(self, x: Float[Tensor, "B S C"]) -> Float[Tensor, "B S window"]:
        """The windowed samples of each spectrum."""
        loudness, phase = self.head(self.norm(x)).chunk(2, dim=-1)
        spectra = torch.polar(loudness.clamp(max=LOUDEST).exp(), phase)
        samples: Tensor = torch.fft.irfft(spectra, n=len(self.window)) * self.window
        return samples
