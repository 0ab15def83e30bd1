"""Linear layers of a few rows on a GPU, with the norm before and the activation after them in one kernel.

A matrix product of one row is bound by reading its weights, and a library's kernels, made for tiles of rows, read them
at a fifth of the memory's bandwidth (6 us for 6 MB on an H200). This one gives every program a few outputs and all
inputs. Sums are in float32 whatever the weights are stored in.

Shapes: M rows, I inputs, O outputs.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from lina.core.ops.dispatch import runs_triton

ROWS = 4
"""Up to so many rows it is faster than a product and a norm by themselves."""
INPUTS = 4_096
"""The widest input that a program can hold."""


def small_linear(
    x: Float[Tensor, "M I"],
    weight: Float[Tensor, "O_or_2O I"],
    bias: Float[Tensor, "O_or_2O"] | None = None,
    norm_weight: Float[Tensor, "I_or_V"] | None = None,
    norm_bias: Float[Tensor, "I"] | None = None,
    eps: float = 0.0,
    gate: Float[Tensor, "M I"] | None = None,
    heads: int = 1,
    swiglu: bool = False,
    log_sigmoid: float = 0.0,
    residual: Float[Tensor, "M O"] | None = None,
) -> Float[Tensor, "M O"]:
    """residual + activation(weight norm(x) + bias), in float32. On a GPU one kernel, elsewhere PyTorch.

    ``norm_weight`` and ``norm_bias``: of a layer norm. With ``gate``, ``norm_weight`` [V] is of a root-mean-square norm
    of each of ``heads`` instead, after which x is multiplied by silu(gate). ``swiglu``: the first O outputs are gates,
    the others values. ``log_sigmoid``: the activation is ``log_sigmoid * logsigmoid(y)``.
    """
    if x.device.type == "cuda":
        from lina.core.ops.small_linear_triton import small_linear as fused

        return fused(x, weight, bias, norm_weight, norm_bias, eps, gate, heads, swiglu, log_sigmoid, residual)
    x = x.float()
    if gate is not None and norm_weight is not None:
        each = x.unflatten(-1, (heads, -1))
        x = F.rms_norm(each, each.shape[-1:], norm_weight.float(), eps).flatten(-2) * F.silu(gate.float())
    elif norm_weight is not None and norm_bias is not None:
        x = F.layer_norm(x, x.shape[-1:], norm_weight.float(), norm_bias.float(), eps)
    y = F.linear(x, weight.float(), None if bias is None else bias.float())
    if swiglu:
        opened, value = y.chunk(2, -1)
        y = F.silu(opened) * value
    if log_sigmoid:
        y = log_sigmoid * F.logsigmoid(y)
    return y if residual is None else y + residual


def is_small(x: Float[Tensor, "M I"], *widths: int) -> bool:
    """``small_linear`` is the faster form for so many rows, with layers of these input widths, where ``x`` is."""
    return runs_triton(x.device) and x.shape[0] <= ROWS and max(widths) <= INPUTS
