"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864): interleaved pairs of each head's first channels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def apply_rotary(
    x: Float[Tensor, "B T H D"], positions: Int[Tensor, "#B T"], channels: int | None = None
) -> Float[Tensor, "B T H D"]:
    """Rotate channel pairs (2i, 2i + 1) of the first C channels by positions * 10000^(-2i / C).

    C is ``channels`` (even, at most D), by default D / 2.
    """
    rotated = x.shape[-1] // 4 * 2 if channels is None else channels
    if rotated == 0:
        return x
    frequencies = 10000.0 ** (-torch.arange(0, rotated, 2, device=x.device, dtype=torch.float64) / rotated)
    angles = positions[..., None].double() * frequencies
    cos, sin = (f(angles)[:, :, None].to(x.dtype) for f in (torch.cos, torch.sin))
    even, odd = x[..., :rotated:2], x[..., 1:rotated:2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([turned, x[..., rotated:]], dim=-1)
