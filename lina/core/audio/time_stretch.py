"""Time stretching that keeps the pitch: WSOLA (Verhelst and Roelands 1993, ICASSP, "An overlap-add technique based on
waveform similarity") as a stream.

Windows of 30 ms are taken from the input at the requested rate and added half overlapping; each may be shifted by up to
10 ms, to where it goes on best from the window before. It costs a correlation per 15 ms of output, changes neither
pitch nor voice, and suits speech at rates between about a half and two. Imports no torch.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]
"""Samples, [C, n]."""

HOP_SECONDS = 0.015
SEARCH_SECONDS = 0.010


class StretchState(NamedTuple):
    """The input that is still needed, and the output that is not complete."""

    input: Audio
    start: int
    """Index of its first sample in the whole input."""
    windows: int
    """Windows that have been added."""
    following: int
    """Index of the sample that follows the first half of the latest window."""
    half: Audio
    """Second half of the latest window, faded out, [C, hop]."""


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
        fade = (np.arange(self.hop) + 0.5) * (np.pi / 2 / self.hop)
        self.rising: Audio = np.square(np.sin(fade)).astype(np.float32)

    def initial_state(self) -> StretchState:
        return StretchState(self._silence(0), 0, 0, 0, self._silence(self.hop))

    def parallel_forward(self, audio: Audio) -> Audio:
        output, state = self.step(audio, self.initial_state())
        return np.concatenate([output, self.flush(state)], axis=1)

    def step(self, audio: Audio, state: StretchState) -> tuple[Audio, StretchState]:
        """Output that no later input changes."""
        state = state._replace(input=np.concatenate([state.input, audio], axis=1))
        pieces, end = [self._silence(0)], state.start + state.input.shape[1]
        while self._reach(state.windows) <= end:
            piece, state = self._add(state)
            pieces.append(piece)
        return np.concatenate(pieces, axis=1), state

    def flush(self, state: StretchState) -> Audio:
        """The rest of the output."""
        total = state.start + state.input.shape[1]
        missing = round(total / self.rate) - state.windows * self.hop
        pieces = [self._silence(0)]
        while sum(piece.shape[1] for piece in pieces) < missing:
            lacking = max(0, self._reach(state.windows) - state.start - state.input.shape[1])
            longer = np.concatenate([state.input, self._silence(lacking)], axis=1)
            piece, state = self._add(state._replace(input=longer))
            pieces.append(piece)
        return np.concatenate(pieces, axis=1)[:, : max(0, missing)]

    def _silence(self, length: int) -> Audio:
        return np.zeros((self.channels, length), np.float32)

    def _place(self, window: int) -> int:
        """Index of a window's first sample, before it is shifted."""
        return round(window * self.hop * self.rate)

    def _reach(self, window: int) -> int:
        return self._place(window) + self.search + 2 * self.hop

    def _add(self, state: StretchState) -> tuple[Audio, StretchState]:
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
            window[:, hop:] * self.rising[::-1],
        )

    @staticmethod
    def _cut(audio: Audio, start: int, length: int) -> Audio:
        piece = audio[:, start : start + length]
        return np.pad(piece, ((0, 0), (0, length - piece.shape[1])))


def _most_alike(candidates: Audio, reference: Audio) -> int:
    """The offset in ``candidates`` with the largest normalized correlation; of equals the first."""
    own, other = candidates.astype(np.float64), reference.astype(np.float64)
    rows = np.lib.stride_tricks.sliding_window_view(own, other.shape[1], axis=1)
    products = (rows @ other[..., None]).sum((0, 2))
    # Differences of sums up to each sample: a hundredth of the work of a sum for each row.
    sums = np.concatenate([[0.0], np.square(own).sum(0).cumsum()])
    energies = sums[other.shape[1] :] - sums[: -other.shape[1]]
    return int(np.argmax(products / np.sqrt(np.maximum(energies, 0.0) + 1e-9)))
