"""Alignment errors of synthesized speech, from the attention of each frame over the text.

The attention separates good speech from bad: its mean position should only go forward. This is the idea of Regotron's
alignment loss (Georgiou et al. 2022, "Regotron: Regularizing the Tacotron2 architecture via monotonic alignment loss",
arXiv 2204.13437); lina-speech selected samples by that loss, then by length. Here each kind of error is counted
separately, in text positions, so that a person can read the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

MIN_ATTENTION = 0.5
"""Minimum attention, summed over all frames, for a position to count as read (independent of blur)."""
BACKWARD_TOLERANCE = 1.0
"""Tolerance in positions: smaller backward moves of the path do not count."""
END_TOLERANCE = 2.0
"""Positions at the end that need not be reached: attention seldom goes to the last punctuation."""

NEAR = 0.1
"""Largest distance from the mean position, as a share of the text, that still counts as focused."""


@dataclass(frozen=True)
class Alignment:
    """Alignment errors as shares of the text's positions; 0 is best."""

    skipped: float
    """Positions passed without being read."""
    repeated: float
    """Total of all backward moves; above 1 if the text was read repeatedly."""
    unread: float
    """Positions after the furthest one reached: the speech ended early."""
    stopped: bool
    """Ended by STOP or, at the end of the text, by the attention window; not by the length limit."""

    @property
    def alignment_cost(self) -> float:
        """Sum of all errors; not stopping costs as much as leaving the whole text unread."""
        return self.skipped + self.repeated + self.unread + (not self.stopped)


def alignment(attention: Float[Tensor, "T J"], *, stopped: bool, start: int = 0) -> Alignment:
    """Compute the alignment errors of T frames over J text positions; each frame's attention sums to 1.

    ``start``: first position to be spoken, after those of a prompt's transcript.

    Raises:
        ValueError: there are no frames, or ``start`` is outside of the positions.
    """
    frames, positions = attention.shape
    if not frames or not 0 <= start < positions:
        raise ValueError(
            f"attention of {frames} frames over {positions} positions, {start} of them in the prompt"
        )
    attention = attention.double()
    path = attention @ torch.arange(positions, dtype=torch.float64, device=attention.device)
    reached = float(path.max())
    passed = attention[:, start : max(start, round(reached))].sum(0)
    remaining = positions - start
    return Alignment(
        skipped=int((passed < MIN_ATTENTION).sum()) / remaining,
        repeated=_backward_total(path.tolist()) / remaining,
        unread=min(1.0, max(0.0, positions - 1 - END_TOLERANCE - reached) / remaining),
        stopped=stopped,
    )


def join_alignments(alignments: Sequence[Alignment], positions: Sequence[int]) -> Alignment:
    """Alignment of consecutive sentences, weighted by the ``positions`` of each."""

    def share(shares: Sequence[float]) -> float:
        return sum(one * count for one, count in zip(shares, positions, strict=True)) / max(1, sum(positions))

    return Alignment(
        skipped=share([one.skipped for one in alignments]),
        repeated=share([one.repeated for one in alignments]),
        unread=share([one.unread for one in alignments]),
        stopped=all(one.stopped for one in alignments),
    )


def monotonic_focus(attention: Float[Tensor, "T J"]) -> float:
    """Monotonic focus of the attention: 1 passes through the text position by position; 0 is uniform or constant.

    The share of attention near each frame's mean position, times the correlation of that position with time. The
    errors that ``alignment`` counts are meaningful only where this is not small.
    """
    frames, positions = attention.shape
    if positions == 1:
        return 1.0
    attention = attention.double()
    indices = torch.arange(positions, dtype=torch.float64, device=attention.device)
    path = attention @ indices
    near = (indices - path[:, None]).abs() <= NEAR * positions
    time = torch.arange(frames, dtype=torch.float64, device=attention.device)
    forward = torch.cosine_similarity(path - path.mean(), time - time.mean(), dim=0)
    return float((attention * near).sum(1).mean() * forward.clamp(min=0.0))


def mean_focus(sentences: Sequence[Float[Tensor, "T J"]]) -> float:
    """``monotonic_focus`` of all sentences, weighted by frames; 1 without sentences."""
    frames = sum(map(len, sentences))
    return sum(monotonic_focus(one) * len(one) for one in sentences) / frames if frames else 1.0


def _backward_total(path: list[float]) -> float:
    """Total of all backward moves of the path.

    A backward move ends where the path advances by more than ``BACKWARD_TOLERANCE``.
    """
    total, back = 0.0, False
    high = low = path[0]
    for position in path:
        if back:
            low = min(low, position)
            if position - low > BACKWARD_TOLERANCE:
                total, back, high = total + high - low, False, position
        else:
            high = max(high, position)
            if high - position > BACKWARD_TOLERANCE:
                back, low = True, position
    return total + (high - low if back else 0.0)
