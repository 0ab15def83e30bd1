"""Random numbers as a function of (key, frame, draw, token): the same bits on every device, in any order.

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
"""Draws per frame that have keys of their own."""


def draw_keys(key: Int[Tensor, "S"], frame: Int[Tensor, "S"], draws: int) -> Int[Tensor, "S draws"]:
    """The keys of ``draws`` draws (at most ``DRAWS``) for each stream's ``frame``."""
    number = torch.arange(1, draws + 1, device=key.device)
    return mix(key[:, None] + (frame[:, None] * DRAWS + number) * GOLDEN)


def gumbel(key: Int[Tensor, "*B"], token: Int[Tensor, "*B V"]) -> Float[Tensor, "*B V"]:
    """Noise of the standard Gumbel distribution for each token of each draw, in float64, of 53 random bits."""
    bits = mix(key[..., None] + (token + 1) * GOLDEN)
    uniform = (shift_right(bits, 11).double() + 0.5) * 2.0**-53  # between 0 and 1, and never either
    noise: Tensor = -(-uniform.log()).log()
    return noise


def mix(bits: Int[Tensor, "*N"]) -> Int[Tensor, "*N"]:
    """The output function of SplitMix64."""
    bits = (bits ^ shift_right(bits, 30)) * FIRST
    bits = (bits ^ shift_right(bits, 27)) * SECOND
    mixed: Tensor = bits ^ shift_right(bits, 31)
    return mixed


def shift_right(bits: Int[Tensor, "*N"], by: int) -> Int[Tensor, "*N"]:
    """Without the sign."""
    shifted: Tensor = (bits >> by) & (2 ** (64 - by) - 1)
    return shifted
