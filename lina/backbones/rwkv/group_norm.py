"""RWKV's norm of the outputs of its heads."""

from typing import Literal

from torch import nn

NormInit = Literal["ones", "depth"]
EPS = 64e-5
DEPTH_EXPONENT = 0.7


def group_norm(n_heads: int, d_model: int, layer: int, n_layers: int, init: NormInit) -> nn.GroupNorm:
    """Norm of each head; ``depth`` begins with small outputs in the first layers, as in RWKV's own training."""
    norm = nn.GroupNorm(n_heads, d_model, eps=EPS)
    if init == "depth":
        nn.init.constant_(norm.weight, ((layer + 1) / n_layers) ** DEPTH_EXPONENT)
    return norm
