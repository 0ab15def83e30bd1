"""RWKV's token shift: each frame is blended with the one before it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def shifted(
    x: Float[Tensor, "B T D"], last: Float[Tensor, "B D"], starts: Bool[Tensor, "B T"] | None
) -> Float[Tensor, "B T D"]:
    """Previous frame of each frame, ``last`` before the first, zeros where rows start."""
    before = torch.cat([last[:, None].to(x.dtype), x[:, :-1]], dim=1)
    return before if starts is None else before.masked_fill(starts[..., None], 0.0)
