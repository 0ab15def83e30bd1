"""The delay pattern (Copet et al. 2023, "MusicGen", arXiv 2306.05284, section 2.1) as a stream.

Codebook q of frame t is said at step t + q. Delaying and undelaying are the same thing with other lags: each codebook
is held back by a fixed number of frames, in a state of constant size. Undelay after delay is a lag of Q - 1 frames.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class SkewState(NamedTuple):
    history: Int[Tensor, "B L Q"]
    """The last L = max(lags) frames, oldest first."""


class Skew:
    """Holds codebook q back by ``lags[q]`` frames; before the first frame comes ``fill``."""

    def __init__(self, lags: list[int], fill: int) -> None:
        self.lags = torch.tensor(lags)
        self.fill = fill

    def initial_state(self, batch: int, device: torch.device | str = "cpu") -> SkewState:
        shape = (batch, int(self.lags.max()), len(self.lags))
        return SkewState(torch.full(shape, self.fill, dtype=torch.int64, device=device))

    def parallel_forward(
        self, frames: Int[Tensor, "B T Q"], state: SkewState
    ) -> tuple[Int[Tensor, "B T Q"], SkewState]:
        longest = state.history.shape[1]
        held = torch.cat([state.history, frames], dim=1)
        times = torch.arange(longest, held.shape[1], device=frames.device)[:, None] - self.lags.to(
            frames.device
        )
        out = held.gather(1, times.expand(frames.shape[0], -1, -1))
        return out, SkewState(held[:, held.shape[1] - longest :])

    def step(self, frame: Int[Tensor, "B Q"], state: SkewState) -> tuple[Int[Tensor, "B Q"], SkewState]:
        out, state = self.parallel_forward(frame[:, None], state)
        return out[:, 0], state


def delay(codebooks: int, fill: int) -> Skew:
    """Codebook q lags by q."""
    return Skew(list(range(codebooks)), fill)


def undelay(codebooks: int, fill: int) -> Skew:
    """Codebook q lags by Q - 1 - q: what ``delay`` held back is aligned again."""
    return Skew(list(range(codebooks - 1, -1, -1)), fill)
