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

from lina.core.lm import Conditions


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


def first_place(attention: Float[Tensor, "B J"], begin: Int[Tensor, "B"], window: Window) -> Place:
    """The place of rows that are about to say position ``begin``.

    ``attention``: where the last frame of each row's prompt read, zeros without one. The place is there, not beyond
    ``begin``, and not so far before that ``begin`` could not be read.
    """
    read = torch.minimum(attention.argmax(-1), begin)
    at = torch.maximum(read, begin - window.ahead)
    return Place(at.float(), torch.zeros_like(at))


def narrowed(conditions: Conditions, place: Place, window: Window) -> Conditions:
    """What can be read from ``place``. A mask that has nothing there, as that of no text at all, stays as it is."""
    mask = conditions.text.mask  # [B, J], or [B, 2, J] where guidance speaks with the text and without
    position = torch.arange(mask.shape[-1], device=mask.device)
    at = place.at.long().view(-1, *[1] * (mask.dim() - 1))
    inside = mask & (position >= at - window.back) & (position <= at + window.ahead)
    inside = torch.where(inside.any(-1, keepdim=True), inside, mask)
    return conditions._replace(text=conditions.text._replace(mask=inside))


def last_position(conditions: Conditions) -> Int[Tensor, "B"]:
    """The last position of each row's text."""
    mask = conditions.text.mask
    told = mask.reshape(mask.shape[0], -1, mask.shape[-1])[:, 0]
    return (told * torch.arange(mask.shape[-1], device=mask.device)).amax(-1)


def followed(place: Place, attention: Float[Tensor, "B J"], last: Int[Tensor, "B"], window: Window) -> Place:
    """The place after a step that read so (the first head, which training may guide)."""
    arrived = at_end(place, last, window)
    ahead = (attention.argmax(-1) - place.at).clamp(0.0, window.pace)
    waited = torch.where((ahead > 0) & ~arrived, 0, place.waited + 1)
    at = place.at + ahead
    if window.stall is not None:
        stuck = ~arrived & (waited > window.stall)
        at, waited = at + stuck, waited.masked_fill(stuck, 0)
    at = torch.minimum(at, last.float())
    arriving = at_end(Place(at, waited), last, window) & ~arrived
    return Place(at, waited.masked_fill(arriving, 0))


def at_end(place: Place, last: Int[Tensor, "B"], window: Window) -> Bool[Tensor, "B"]:
    """Rows that have at most ``stop_within`` positions left (0 if that is None)."""
    return place.at >= last - (window.stop_within or 0)


def may_stop(place: Place, last: Int[Tensor, "B"], window: Window) -> Bool[Tensor, "B"]:
    """Rows that may end by themselves."""
    if window.stop_within is None:
        return torch.ones_like(place.waited, dtype=torch.bool)
    return at_end(place, last, window)


def has_to_stop(place: Place, last: Int[Tensor, "B"], window: Window) -> Bool[Tensor, "B"]:
    """Rows that have said their text and go on all the same."""
    if window.linger is None:
        return torch.zeros_like(place.waited, dtype=torch.bool)
    return at_end(place, last, window) & (place.waited > window.linger)
