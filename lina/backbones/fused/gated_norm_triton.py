"""The Triton kernel of ``lina.backbones.fused.gated_norm``."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lina.core.ops.operator import operator


@triton.jit
def gated_norm_kernel(
    x, weight, gate, out, gate_stride, heads, eps, VALUES: tl.constexpr, BLOCK: tl.constexpr
):
    """One program per head of a row."""
    place = tl.program_id(0).to(tl.int64)
    row, head = place // heads, place % heads
    channel = tl.arange(0, BLOCK)
    inside = channel < VALUES
    own = tl.load(x + place * VALUES + channel, mask=inside, other=0.0).to(tl.float32)
    opened = tl.load(gate + row * gate_stride + head * VALUES + channel, mask=inside, other=0.0).to(
        tl.float32
    )
    gain = tl.load(weight + channel, mask=inside, other=0.0).to(tl.float32)
    power = tl.sum(own * own, axis=0) / VALUES
    result = own * tl.rsqrt(power + eps) * gain * opened * tl.sigmoid(opened)
    tl.store(out + place * VALUES + channel, result.to(out.dtype.element_ty), mask=inside)


def _shape(x: Tensor, weight: Tensor, gate: Tensor, eps: float) -> Tensor:
    return torch.empty(x.shape[0], x.shape[1] * x.shape[2], dtype=gate.dtype, device=x.device)


@operator(fake=_shape)
def gated_norm(x: Tensor, weight: Tensor, gate: Tensor, eps: float) -> Tensor:
    """As ``lina.backbones.fused.gated_norm.gated_norm``, on a GPU."""
    rows, heads, values = x.shape
    out = torch.empty(rows, heads * values, dtype=gate.dtype, device=x.device)
    block = triton.next_power_of_2(values)
    gated_norm_kernel[(rows * heads,)](
        x, weight, gate, out, gate.stride(0), heads, eps, VALUES=values, BLOCK=block, num_warps=4
    )
    return out
