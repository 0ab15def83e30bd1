"""Repetition-aware sampling (VALL-E 2, Chen et al. 2024, arXiv 2406.05370).

Cut to the likeliest tokens, sampling can fall into a loop that has no way out. A token that was said too often just now
is drawn again from the whole distribution, where the way out is. Only codebook 0 does so: it carries what is said and
when, the other codebooks follow it, and it alone can say STOP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Repetition:
    """What is too often."""

    last: int
    """Tokens before this one that are looked at."""
    ratio: float
    """The part of them that may be the same as this one."""


def draw_again(
    token: Int[Tensor, "B"],
    recent: Int[Tensor, "B K"],
    logits: Float[Tensor, "B V"],
    allowed: Bool[Tensor, "*#B V"],
    rule: Repetition,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, "B"]:
    """Each row's token, or where it makes up more than ``ratio`` of ``recent`` another draw, at temperature 1.

    A row draws one uniform number in either case: what it says does not depend on its neighbours.
    """
    uniform = torch.stack([torch.rand((), generator=row, dtype=torch.float64) for row in generators])
    cumulative = logits.masked_fill(~allowed, -torch.inf).double().softmax(-1).cumsum(-1)
    threshold = uniform.to(logits.device)[:, None] * cumulative[:, -1:]
    # Where nothing is added, nothing is allowed: the first sum above the threshold is of an allowed token.
    drawn = (cumulative <= threshold).sum(-1).clamp(max=logits.shape[-1] - 1)
    repeated = (recent == token[:, None]).sum(-1) > rule.ratio * recent.shape[1]
    return torch.where(repeated, drawn, token)
