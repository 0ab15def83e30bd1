"""Rules of sampling as tensors, for every form of it."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class SamplingRules(NamedTuple):
    """``Sampling`` of S rows, spread over Q codebooks."""

    temperature: Float[Tensor, "S Q"]
    """``GREEDY`` takes the likeliest token."""
    top_k: Int[Tensor, "S Q"]
    """``ALL`` leaves everything in."""
    top_p: Float[Tensor, "S Q"]
    """1 leaves everything in."""
