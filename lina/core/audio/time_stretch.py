"""Time stretching that keeps the pitch: WSOLA (Verhelst and Roelands 1993, ICASSP, "An overlap-add technique based on
waveform similarity") as a stream.

Windows of 30 ms are taken from the input at the requested rate and added half overlapping; each may be shifted by up to
10 ms, to where it goes on best from the window before. It costs a correlation per 15 ms of output, changes neither
pitch nor voice, and suits speech at rates between about a half and two.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

HOP_SECONDS = 0.015
SEARCH_SECONDS = 0.010


class StretchState(NamedTuple):
    """The input that is still needed, and the output that is not complete."""

    input: Float[Tensor, "C n"]
    start: int
    """Index of its first sample in the whole input."""
    windows: int
    """Windows that have been added."""
    following: int
    """Index of the sample that follows the first half of the latest window."""
    half: Float[Tensor, "C hop"]
    """Second half of the latest window, faded out."""


class TimeStretch:
    """A stream over audio: folding ``step`` over any split, then ``flush``, gives ``parallel_forward``.

    The output has the length of the input divided by ``rate``, rounded.
    """

    def __init__(self, rate: float, sample_rate: int, channels: int) -> None:
        # At more than 2.6 a window would be output beyond the end.
        if not 0.25 <= rate <= 2.5:
            raise ValueError(f"rate = {rate:g} is not in 0.25 .. 2.5")
        self.rate, self.channels = rate, channels
        self.hop = max(1, round(HOP_SECONDS * sample_rate))
        self.search = max(1, round(SEARCH_SECONDS * sample_rate))
        fade = torch.arange(self.hop, dtype=torch.float64).add(0.5).mul(torch.pi / 2 / self.hop)
        self.rising = fade.sin().square().float()

    def initial_state(self) -> StretchState:
        return StretchState(torch.zeros(self.channels, 0), 0, 0, 0, torch.zeros(self.channels, self.hop))

    def parallel_forward(self, audio: Float[Tensor, "C n"]) -> Float[Tensor, "C m"]:
        output, state = self.step(audio, self.initial_state())
        return torch.cat([output, self.flush(state)], dim=1)

    def step(
        self, audio: Float[Tensor, "C n"], state: StretchState
    ) -> tuple[Float[Tensor, "C m"], StretchState]:
        """Output that no later input changes."""
        state = state._replace(input=torch.cat([state.input, audio], dim=1))
        pieces, end = [torch.zeros(self.channels, 0)], state.start + state.input.shape[1]
        while self._reach(state.windows) <= end:
            piece, state = self._add(state)
            pieces.append(piece)
        return torch.cat(pieces, dim=1), state

    def flush(self, state: StretchState) -> Float[Tensor, "C m"]:
        """The rest of the output."""
        total = state.start + state.input.shape[1]
        missing = round(total / self.rate) - state.windows * self.hop
        pieces = [torch.zeros(self.channels, 0)]
        while sum(piece.shape[1] for piece in pieces) < missing:
            lacking = max(0, self._reach(state.windows) - state.start - state.input.shape[1])
            piece, state = self._add(state._replace(input=F.pad(state.input, (0, lacking))))
            pieces.append(piece)
        return torch.cat(pieces, dim=1)[:, : max(0, missing)]

    def _place(self, window: int) -> int:
        """Index of a window's first sample, before it is shifted."""
        return round(window * self.hop * self.rate)

    def _reach(self, window: int) -> int:
        return self._place(window) + self.search + 2 * self.hop

    def _add(self, state: StretchState) -> tuple[Float[Tensor, "C hop"], StretchState]:
        """Add the next window; the output up to its middle is complete."""
        audio, hop, place = state.input, self.hop, self._place(state.windows)
        if state.windows:
            reference = self._cut(audio, state.following - state.start, hop)
            low = max(0, place - self.search)
            candidates = self._cut(audio, low - state.start, place + self.search - low + hop)
            place = low + _most_alike(candidates, reference)
        window = self._cut(audio, place - state.start, 2 * hop)
        first = window[:, :hop] * self.rising if state.windows else window[:, :hop]
        output = state.half + first
        following = place + hop
        needed = min(following, max(0, self._place(state.windows + 1) - self.search)) - state.start
        dropped = min(max(0, needed), audio.shape[1])
        return output, StretchState(
            audio[:, dropped:],
            state.start + dropped,
            state.windows + 1,
            following,
            window[:, hop:] * self.rising.flip(0),
        )

    @staticmethod
    def _cut(audio: Float[Tensor, "C n"], start: int, length: int) -> Float[Tensor, "C length"]:
        piece = audio[:, start : start + length]
        return F.pad(piece, (0, length - piece.shape[1]))


def _most_alike(candidates: Float[Tensor, "C n"], reference: Float[Tensor, "C hop"]) -> int:
    """The offset in ``candidates`` with the largest normalized correlation; of equals the first."""
    rows = candidates.double().unfold(1, reference.shape[1], 1)
    products = (rows * reference.double()[:, None]).sum((0, 2))
    energies = rows.square().sum((0, 2))
    return int((products / (energies + 1e-9).sqrt()).argmax())
