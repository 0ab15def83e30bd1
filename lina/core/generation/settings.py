"""Settings of a stream as plain values: sampling, attention window and repetition. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from lina.core.errors import LinaError

GREEDY, ALL = 1e-6, 2**31
"""The temperature that takes the likeliest token, and the top_k that leaves everything in."""
NEVER = 2**60
"""Steps or positions that are not reached."""


@dataclass(frozen=True)
class Sampling:
    """Rules for choosing tokens. Each value is one for all codebooks or a sequence with one for each."""

    temperature: float | Sequence[float] = 0.0
    """0 takes the likeliest token."""
    top_k: int | Sequence[int | None] | None = None
    """Only the k likeliest."""
    top_p: float | Sequence[float | None] | None = None
    """Only the fewest likeliest that hold this much probability (Holtzman et al. 2020, arXiv 1904.09751)."""

    @property
    def is_greedy(self) -> bool:
        """All temperatures are 0: nothing is drawn."""
        return not any(self.temperature) if isinstance(self.temperature, Sequence) else not self.temperature

    def widest(self, codebooks: int) -> int | None:
        """The largest top_k; None if a codebook leaves everything in."""
        widest = int(max(_spread("top_k", self.top_k, codebooks, ALL, 1, ALL)))
        return None if widest == ALL else widest

    @property
    def has_top_p(self) -> bool:
        """Some codebook leaves unlikely tokens out by their probability."""
        values = self.top_p if isinstance(self.top_p, Sequence) else [self.top_p]
        return any(value not in (None, 1.0) for value in values)

    def spread(self, codebooks: int) -> tuple[list[float], list[int], list[float]]:
        """Temperature, top_k and top_p of each codebook.

        Raises:
            LinaError: a list of another length, or a value that is no number or out of range.
        """
        temperature = _spread("temperature", self.temperature, codebooks, 0.0, 0.0, 100.0)
        top_k = _spread("top_k", self.top_k, codebooks, ALL, 1, ALL)
        top_p = _spread("top_p", self.top_p, codebooks, 1.0, 1e-6, 1.0)
        return [max(GREEDY, one) for one in temperature], [int(one) for one in top_k], top_p


@dataclass(frozen=True)
class Window:
    """Positions are those of the text, steps are frames. None switches a rule off."""

    ahead: int
    """Positions that can be read beyond the place."""
    back: int
    """Positions that can still be read before it."""
    pace: float
    """Positions by which the place goes forward in a step, at most."""
    stall: int | None = None
    """Steps without moving after which the place is pushed on by one position. Each push removes the hindmost
    position, so a row is not stuck at one for more than ``back`` + 1 pushes, and everything ends."""
    stop_within: int | None = None
    """Speech may end only where so many positions, or fewer, are left of the text: its last marks are seldom read. At
    most ``SHARE_LEFT`` of a text: else a single word could end before it is spoken."""
    linger: int | None = None
    """Steps after which a row that has arrived there is ended."""
    settle: int | None = None
    """Steps at the last position after which no other can be read any more."""


@dataclass(frozen=True)
class Repetition:
    """The share of one token among the latest ones from which on it is drawn again."""

    last: int
    """Tokens before this one that are looked at."""
    ratio: float
    """The part of them that may be the same as this one."""


def _spread(
    name: str, value: object, codebooks: int, absent: float, least: float, most: float
) -> list[int | float]:
    """A value for each codebook; None becomes ``absent``. Bounds that are integers want integers."""
    many = isinstance(value, Sequence) and not isinstance(value, str)
    values: list[Any] = list(cast(Sequence[Any], value)) if many else [value] * codebooks
    if len(values) != codebooks:
        raise LinaError(f"sampling: {name} has {len(values)} values, but the codec has {codebooks} codebooks")
    kind: Any = int if isinstance(least, int) else (int, float)
    for item in values:
        if item is not None and not (isinstance(item, kind) and least <= item <= most):
            expected = "an integer" if kind is int else "a number"
            raise LinaError(f"sampling: {name} = {item!r} is not {expected} in {least} .. {most}")
    return [absent if item is None else item for item in values]
