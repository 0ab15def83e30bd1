"""How well speech followed its text, judged by where each frame read it: nothing skipped, said again or left unsaid.

That attention over the text tells good speech from bad, and that the mean attended position should only go forward,
is the idea of Regotron's alignment loss (Georgiou et al. 2022, "Regotron: Regularizing the Tacotron2 architecture via
monotonic alignment loss", arXiv 2204.13437); lina-speech chose among its samples by that loss, then by length.
Here the ways to go wrong are counted one by one, each in the text's own unit, so that a person can read them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

READ = 0.5
"""A position is read if all frames together give it at least so many frames' attention (of any blur)."""
WAVERING = 1.0
"""Positions by which the path may sway without going back."""
ENDING = 2.0
"""Positions at the end that count as reached from here: the last marks are seldom waited for."""

NEAR = 0.1
"""So far from its mean position, as a share of the text, a frame's attention is at one place."""


@dataclass(frozen=True)
class Alignment:
    """What went wrong, as shares of the text's positions; 0 is best."""

    skipped: float
    """Positions that were passed and never read."""
    repeated: float
    """Positions by which the reading went back, in all; more than 1 if the text was read again and again."""
    unread: float
    """Positions behind the furthest one that was reached: the speech ended early."""
    stopped: bool
    """The speech ended: by itself, or by the reading window when the text had been said; not by the limit."""

    @property
    def badness(self) -> float:
        """All of it together; speech that does not stop is as bad as one that says nothing of its text."""
        return self.skipped + self.repeated + self.unread + (not self.stopped)


def alignment(attention: Float[Tensor, "T J"], *, stopped: bool, start: int = 0) -> Alignment:
    """Judge speech by its attention over the J positions of a text, each frame's adding up to 1.

    ``start``: the first position that was to be said; before it lies what a prompt has said already.

    Raises:
        ValueError: no frames, or ``start`` is not among the positions.
    """
    frames, positions = attention.shape
    if not frames or not 0 <= start < positions:
        raise ValueError(
            f"attention of {frames} frames over {positions} positions, {start} of them said before"
        )
    attention = attention.double()
    path = attention @ torch.arange(positions, dtype=torch.float64, device=attention.device)
    reached = float(path.max())
    passed = attention[:, start : max(start, round(reached))].sum(0)
    to_say = positions - start
    return Alignment(
        skipped=int((passed < READ).sum()) / to_say,
        repeated=_gone_back(path.tolist()) / to_say,
        unread=min(1.0, max(0.0, positions - 1 - ENDING - reached) / to_say),
        stopped=stopped,
    )


def join_alignments(alignments: Sequence[Alignment], positions: Sequence[int]) -> Alignment:
    """The alignment of consecutive sentences: shares of all their positions; ``positions`` has those of each."""

    def share(shares: Sequence[float]) -> float:
        return sum(one * count for one, count in zip(shares, positions, strict=True)) / max(1, sum(positions))

    return Alignment(
        skipped=share([one.skipped for one in alignments]),
        repeated=share([one.repeated for one in alignments]),
        unread=share([one.unread for one in alignments]),
        stopped=all(one.stopped for one in alignments),
    )


def following(attention: Float[Tensor, "T J"]) -> float:
    """How far attention follows the text: 1 goes through it place by place; 0 is everywhere at once, or never moves.

    The share of the attention near each frame's mean position, times the correlation of that position with time. What
    ``alignment`` counts means something only where this is not small.
    """
    frames, positions = attention.shape
    if positions == 1:
        return 1.0
    attention = attention.double()
    places = torch.arange(positions, dtype=torch.float64, device=attention.device)
    path = attention @ places
    near = (places - path[:, None]).abs() <= NEAR * positions
    time = torch.arange(frames, dtype=torch.float64, device=attention.device)
    forward = torch.cosine_similarity(path - path.mean(), time - time.mean(), dim=0)
    return float((attention * near).sum(1).mean() * forward.clamp(min=0.0))


def mean_following(sentences: Sequence[Float[Tensor, "T J"]]) -> float:
    """``following`` of each sentence, weighted by its frames; 1 if there is none."""
    frames = sum(map(len, sentences))
    return sum(following(one) * len(one) for one in sentences) / frames if frames else 1.0


def _gone_back(path: list[float]) -> float:
    """How far the path goes back in all. A way back ends where the path turns forward by more than ``WAVERING``."""
    total, back = 0.0, False
    high = low = path[0]
    for place in path:
        if back:
            low = min(low, place)
            if place - low > WAVERING:
                total, back, high = total + high - low, False, place
        else:
            high = max(high, place)
            if high - place > WAVERING:
                back, low = True, place
    return total + (high - low if back else 0.0)
