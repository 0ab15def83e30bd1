"""The delay pattern (Copet et al. 2023, "MusicGen", arXiv 2306.05284, section 2.1) as a stream.

Codebook q of frame t is predicted at step t + q. Delaying and undelaying differ only in their lags: each codebook is
delayed by a fixed number of frames, in a state of constant size. Undelay after delay is a lag of Q - 1 frames. Nothing
here synchronizes with the device or copies to it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class SkewState(NamedTuple):
    history: Int[Tensor, "B L Q"]
    """The last L = Q - 1 frames, oldest first."""


class Skew:
    """Delays codebook q by ``Q - 1 - offsets[q]`` frames; before the first frame comes ``fill``."""

    def __init__(self, offsets: Int[Tensor, "Q"], fill: int) -> None:
        """``offsets``: index of each codebook's first output in the Q - 1 frames of the state and those that follow."""
        self.offsets, self.longest, self.fill = offsets, len(offsets) - 1, fill

    def initial_state(self, batch: int) -> SkewState:
        shape = (batch, self.longest, len(self.offsets))
        return SkewState(torch.full(shape, self.fill, dtype=torch.int64, device=self.offsets.device))

    def parallel_forward(
        self, frames: Int[Tensor, "B T Q"], state: SkewState
    ) -> tuple[Int[Tensor, "B T Q"], SkewState]:
        held = torch.cat([state.history, frames], dim=1)
        times = self.offsets + torch.arange(frames.shape[1], device=frames.device)[:, None]
        out = held.gather(1, times.expand(frames.shape[0], -1, -1))
        return out, SkewState(held[:, frames.shape[1] :])

    def step(self, frame: Int[Tensor, "B Q"], state: SkewState) -> tuple[Int[Tensor, "B Q"], SkewState]:
        held = torch.cat([state.history, frame[:, None]], dim=1)
        out = held.gather(1, self.offsets.expand(frame.shape[0], 1, -1))
        return out[:, 0], SkewState(held[:, 1:])


def delay(codebooks: int, fill: int, device: torch.device | str = "cpu") -> Skew:
    """Codebook q lags by q."""
    return Skew(torch.arange(codebooks - 1, -1, -1, device=device), fill)


def undelay(codebooks: int, fill: int, device: torch.device | str = "cpu") -> Skew:
    """Inverse of ``delay``: codebook q lags by Q - 1 - q, so all are aligned again."""
    return Skew(torch.arange(codebooks, device=device), fill)
