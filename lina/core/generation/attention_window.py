"""The reading window: while a row speaks it sees only the text around its place, and that place only goes forward.

Restricting the softmax at synthesis to a window that follows the position attended to most is Deep Voice 3's constraint
(Ping et al. 2018, arXiv 1710.07654, inference of the attention block). Two things are added. The window also looks
back, for attention wavers. And its place follows at a bounded pace, so that a single frame that glances ahead moves it
little. A place that is known tells besides when speech may end, when it has to, and when it is stuck.

All of it is done by narrowing the mask of the text memory, a read-only value: no module knows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.model.delay_lm import Conditions


@dataclass(frozen=True)
class Window:
    """Positions are those of the text, steps are frames. What is None does nothing."""

    ahead: int
    """Positions that can be read beyond the place."""
    back: int
    """Positions that can still be read before it."""
    pace: float
    """Positions by which the place goes forward in a step, at most."""
    stall: int | None = None
    """Steps without moving after which the place is pushed on by one position. Each push takes away the hindmost
    position, so what a row is stuck at becomes unreadable after ``back`` + 1 of them, and everything ends."""
    stop_within: int | None = None
    """Speech may end only where so many positions, or fewer, are left of the text: its last marks are seldom read."""
    linger: int | None = None
    """Steps after which a row that has arrived there is ended."""


class Place(NamedTuple):
    """Where each row is in its text; a value that goes in and out."""

    at: Float[Tensor, "B"]
    waited: Int[Tensor, "B"]
    """Steps since it has moved, and at the end of the text since it has arrived."""


class Reading:
    """Texts read through a window. It knows the texts and the rules; where the rows are goes in and comes out."""

    def __init__(self, window: Window, conditions: Conditions) -> None:
        """``conditions``: with masks [B, J], or [B, 2, J] where guidance speaks with the text and without."""
        self.window, self.conditions = window, conditions
        mask = conditions.text.mask
        self._position = torch.arange(mask.shape[-1], device=mask.device)
        # What stands for no text has one position: there the window has nothing to take away.
        self._always = mask & (mask.sum(-1, keepdim=True) == 1)
        told = mask.reshape(mask.shape[0], -1, mask.shape[-1])[:, 0]
        self._end = (told * self._position).amax(-1) - (window.stop_within or 0)

    def first_place(self, attention: Float[Tensor, "B J"], begin: Int[Tensor, "B"] | None = None) -> Place:
        """The place of rows that are about to say position ``begin``, 0 by default.

        ``attention``: where the last frame of each row's prompt read, zeros without one. The place is there, not
        beyond ``begin``, and not so far before that ``begin`` could not be read.
        """
        begin = torch.zeros_like(self._end) if begin is None else begin.to(self._end.device)
        read = torch.minimum(attention.argmax(-1), begin)
        at = torch.maximum(read, begin - self.window.ahead)
        return Place(at.float(), torch.zeros_like(at))

    def readable(self, place: Place) -> Conditions:
        """What can be read from ``place``."""
        text = self.conditions.text
        distance = self._position - place.at.long().view(-1, *[1] * (text.mask.dim() - 1))
        inside = (distance >= -self.window.back) & (distance <= self.window.ahead)
        return self.conditions._replace(text=text._replace(mask=text.mask & inside | self._always))

    def followed(self, place: Place, attention: Float[Tensor, "B J"]) -> Place:
        """The place after a step that read so (the first head, which training may guide)."""
        arrived = self.arrived(place)
        forward = (attention.argmax(-1) - place.at).clamp(0.0, self.window.pace)
        at, waited = place.at + forward, (place.waited + 1) * (arrived | (forward == 0))
        if self.window.stall is not None:
            stuck = (waited > self.window.stall) & ~arrived
            at, waited = at + stuck, waited * ~stuck
        return Place(at, waited)

    def arrived(self, place: Place) -> Bool[Tensor, "B"]:
        """Rows that have at most ``stop_within`` positions left (0 if that is None)."""
        return place.at >= self._end

    def may_stop(self, place: Place) -> Bool[Tensor, "B"] | None:
        """Rows that may end by themselves; None: all of them."""
        return None if self.window.stop_within is None else self.arrived(place)

    def has_to_stop(self, place: Place) -> Bool[Tensor, "B"] | None:
        """Rows that have said their text and go on all the same; None: no row ever has to."""
        if self.window.linger is None:
            return None
        return self.arrived(place) & (place.waited > self.window.linger)
