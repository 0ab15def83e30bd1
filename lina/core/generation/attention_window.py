"""The reading window: while a row speaks it sees only the text around its place, and that place only goes forward.

Restricting the softmax at synthesis to a window that follows the position attended to most is Deep Voice 3's constraint
(Ping et al. 2018, arXiv 1710.07654, inference of the attention block). Two things are added. The window also looks
back, for attention wavers. And its place follows at a bounded pace, so that a single frame that glances ahead moves it
little. A place that is known also shows when speech may end, when it has to, and when it is stuck.

All of it is done by narrowing the mask of the text memory, a read-only value: no module knows. Every row has rules of
its own, and all functions are pure functions of tensors.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.generation.settings import NEVER, Window

SHARE_LEFT = 1 / 3
"""Largest share of the text that may be left where speech ends by itself."""


class WindowState(NamedTuple):
    """The place of each row in its text; a value that goes in and out."""

    at: Float[Tensor, "S"]
    waited: Int[Tensor, "S"]
    """Steps since it has moved, and at the end of the text since it has arrived."""
    settled: Int[Tensor, "S"]
    """Steps since the place is at the last position."""


class WindowRules(NamedTuple):
    """Windows of S rows over their texts of J positions; masks are [S, 2, J] where guidance pairs rows."""

    ahead: Int[Tensor, "S"]
    back: Int[Tensor, "S"]
    pace: Float[Tensor, "S"]
    stall: Int[Tensor, "S"]
    linger: Int[Tensor, "S"]
    ends_anywhere: Bool[Tensor, "S"]
    """A row may end by itself wherever it is."""
    end: Int[Tensor, "S"]
    """The position from which on a row counts as arrived."""
    last: Int[Tensor, "S"]
    settle: Int[Tensor, "S"]
    always: Bool[Tensor, "S *P J"]
    """Positions that no window takes away: the one position of a text that stands for no text."""


def window_rules(window: Window | None, mask: Bool[Tensor, "S *P J"], begin: int = 0) -> WindowRules:
    """The rules of rows that speak texts with these masks from ``begin``, by one window; without one all is allowed.

    Values that are the same for all rows are of one row.
    """
    device = mask.device

    def number(value: float | None) -> Tensor:
        return torch.tensor([NEVER if value is None else value], device=device)

    if window is None:
        window = Window(NEVER, NEVER, 0.0)
    always = mask & (mask.sum(-1, keepdim=True) == 1)
    conditioned = mask.reshape(mask.shape[0], -1, mask.shape[-1])[:, 0]
    last = (conditioned * torch.arange(mask.shape[-1], device=device)).amax(-1)
    left = ((last - begin) * SHARE_LEFT).long().clamp(0, window.stop_within or 0)
    return WindowRules(
        number(window.ahead),
        number(window.back),
        number(float(window.pace)),
        number(window.stall),
        number(window.linger),
        torch.tensor([window.stop_within is None], device=device),
        last - left,
        last,
        number(window.settle),
        always,
    )


def first_place(attention: Float[Tensor, "S J"], begin: Int[Tensor, "S"], rules: WindowRules) -> WindowState:
    """The place of rows that are about to say position ``begin``.

    ``attention``: where the last frame of each row's prompt read, zeros without one. The place is there, not
    beyond ``begin``, and not so far before that ``begin`` could not be read.
    """
    read = torch.minimum(attention.argmax(-1), begin)
    at = torch.maximum(read, begin - rules.ahead)
    return WindowState(at.float(), torch.zeros_like(at), torch.zeros_like(at))


def readable(mask: Bool[Tensor, "S *P J"], place: WindowState, rules: WindowRules) -> Bool[Tensor, "S *P J"]:
    """The positions that can be read from ``place``."""

    def per_row(value: Tensor) -> Tensor:
        return value.view(-1, *[1] * (mask.dim() - 1))

    distance = torch.arange(mask.shape[-1], device=mask.device) - per_row(place.at.long())
    back = torch.where(place.settled > rules.settle, 0, rules.back)
    inside = (distance >= -per_row(back)) & (distance <= per_row(rules.ahead))
    return mask & inside | rules.always


def follow(place: WindowState, attention: Float[Tensor, "S J"], rules: WindowRules) -> WindowState:
    """The place after a step with this attention (of the first head, which training may guide)."""
    arrived = has_arrived(place, rules)
    forward = torch.minimum((attention.argmax(-1) - place.at).clamp(min=0.0), rules.pace)
    waited = (place.waited + 1) * (arrived | (forward == 0))
    stuck = (waited > rules.stall) & ~arrived
    at = place.at + forward + stuck
    return WindowState(at, waited * ~stuck, (place.settled + 1) * (at >= rules.last))


def has_arrived(place: WindowState, rules: WindowRules) -> Bool[Tensor, "S"]:
    """Rows that have at most ``stop_within`` positions left (0 if that is None)."""
    return place.at >= rules.end


def may_stop(place: WindowState, rules: WindowRules) -> Bool[Tensor, "S"]:
    """Rows that may end by themselves."""
    return rules.ends_anywhere | has_arrived(place, rules)


def must_stop(place: WindowState, rules: WindowRules) -> Bool[Tensor, "S"]:
    """Rows that have said their text and go on all the same."""
    return has_arrived(place, rules) & (place.waited > rules.linger)
