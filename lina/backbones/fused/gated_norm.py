"""A root-mean-square norm of each head with the gate after it, in one pass over what a memory was read for."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def gated_norm(
    x: Float[Tensor, "B H V"], weight: Float[Tensor, "V"], gate: Float[Tensor, "B H_V"], eps: float
) -> Float[Tensor, "B H_V"]:
    """norm(x) * silu(gate) in the dtype of the gate, whose rows may lie apart. On a GPU one kernel."""
    if x.device.type == "cuda":
        from lina.backbones.fused.gated_norm_triton import gated_norm as fused

        return fused(x, weight, gate, eps)
    normed = F.rms_norm(x, x.shape[-1:], weight.to(x.dtype), eps).flatten(-2)
    gated: Tensor = (normed * F.silu(gate.to(x.dtype))).to(gate.dtype)
    return gated
