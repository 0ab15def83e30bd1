"""Repetition-aware sampling (VALL-E 2, Chen et al. 2024, arXiv 2406.05370).

Cut to the likeliest tokens, sampling can fall into a loop that has no way out. A token that was drawn too often just
now is drawn again from the whole distribution, where the way out is. Only codebook 0 does so: it carries the content
and its timing, the other codebooks follow it, and it alone can emit STOP.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.generation.counter_random import gumbel
from lina.core.generation.settings import Repetition


class RepetitionRules(NamedTuple):
    """``Repetition`` of S rows; an infinite ratio leaves a row alone."""

    last: Int[Tensor, "S"]
    ratio: Float[Tensor, "S"]


def repetition_rules(rule: Repetition | None, device: torch.device | str = "cpu") -> RepetitionRules:
    """The rules of one row."""
    last, ratio = (1, torch.inf) if rule is None else (rule.last, rule.ratio)
    return RepetitionRules(
        torch.tensor([last], device=device), torch.tensor([ratio], dtype=torch.float64, device=device)
    )


def draw_again(
    token: Int[Tensor, "S"],
    recent: Int[Tensor, "S K"],
    logits: Float[Tensor, "S V"],
    allowed: Bool[Tensor, "*#S V"],
    rules: RepetitionRules,
    keys: Int[Tensor, "S"],
) -> Int[Tensor, "S"]:
    """Each row's token, or where it makes up more than ``ratio`` of its latest another draw, at temperature 1.

    ``recent``: the latest tokens, oldest first, of which a row looks at its ``last``, at most K.
    ``keys``: of the draws.
    """
    every = torch.arange(logits.shape[-1], device=logits.device).expand_as(logits)
    drawn = (logits.double() + gumbel(keys, every)).masked_fill(~allowed, -torch.inf).argmax(-1)
    age = torch.arange(recent.shape[1] - 1, -1, -1, device=recent.device)
    same = (recent == token[:, None]) & (age < rules.last[:, None])
    return torch.where(same.sum(-1) > rules.ratio * rules.last, drawn, token)
