"""Uniform random numbers as a function of (key, frame, draw): the same bits on every device, in any order.

SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", OOPSLA, figures 13 and 16): its
n-th output is ``mix(key + n * GOLDEN)``, a function of the counter alone. Nothing is stored and nothing is shared, so a
stream of speech draws the same numbers in any company, and may go on anywhere. 64-bit integers wrap in PyTorch.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.generation import stream_key
from lina.core.generation.stream_key import WORD

GOLDEN, FIRST, SECOND = (number - WORD for number in (stream_key.GOLDEN, stream_key.FIRST, stream_key.SECOND))
"""As signed numbers."""

DRAWS = 2**10
"""Draws per frame that have counters of their own."""


def uniform(key: Int[Tensor, "S"], frame: Int[Tensor, "S"], draws: int) -> Float[Tensor, "S draws"]:
    """``draws`` numbers (at most ``DRAWS``) in [0, 1) for each stream's ``frame``, in float64, of 53 random bits."""
    number = torch.arange(1, draws + 1, device=key.device)
    counter = frame[:, None] * DRAWS + number
    bits = _mix(key[:, None] + counter * GOLDEN)
    found: Tensor = _shift_right(bits, 11).double() * 2.0**-53
    return found


def _mix(bits: Int[Tensor, "*N"]) -> Int[Tensor, "*N"]:
    bits = (bits ^ _shift_right(bits, 30)) * FIRST
    bits = (bits ^ _shift_right(bits, 27)) * SECOND
    mixed: Tensor = bits ^ _shift_right(bits, 31)
    return mixed


def _shift_right(bits: Int[Tensor, "*N"], by: int) -> Int[Tensor, "*N"]:
    """Without the sign."""
    shifted: Tensor = (bits >> by) & (2 ** (64 - by) - 1)
    return shifted
