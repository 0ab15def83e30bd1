"""The Triton kernel of ``lina.core.ops.small_linear``: the weights of a linear layer are read once, at full width."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lina.core.ops.operator import operator


@triton.jit
def small_linear_kernel(
    x,
    weight,
    bias,
    norm_weight,
    norm_bias,
    gate,
    residual,
    out,
    x_stride,
    gate_stride,
    eps,
    scale,
    outputs,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    HEADS: tl.constexpr,
    LAYER_NORM: tl.constexpr,
    GATED_NORM: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SWIGLU: tl.constexpr,
    LOG_SIGMOID: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One program per block of outputs; it has all inputs, and norms them for itself."""
    n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    is_output, is_input = n < outputs, k < INPUTS
    inside = is_output[:, None] & is_input[None, :]
    place = n.to(tl.int64)[:, None] * INPUTS + k[None, :]
    weights = tl.load(weight + place, mask=inside, other=0.0).to(tl.float32)
    if SWIGLU:
        of_value = outputs.to(tl.int64) * INPUTS
        value_weights = tl.load(weight + of_value + place, mask=inside, other=0.0).to(tl.float32)
    if LAYER_NORM:
        gain = tl.load(norm_weight + k, mask=is_input, other=0.0).to(tl.float32)
        shift = tl.load(norm_bias + k, mask=is_input, other=0.0).to(tl.float32)
    if GATED_NORM:
        gain = tl.load(norm_weight + k % (INPUTS // HEADS), mask=is_input, other=0.0).to(tl.float32)
    for row in tl.static_range(ROWS):
        own = tl.load(x + row * x_stride + k, mask=is_input, other=0.0).to(tl.float32)
        if LAYER_NORM:
            mean = tl.sum(own) / INPUTS
            centered = tl.where(is_input, own - mean, 0.0)
            variance = tl.sum(centered * centered) / INPUTS
            own = centered * tl.rsqrt(variance + eps) * gain + shift
        if GATED_NORM:
            opened = tl.load(gate + row * gate_stride + k, mask=is_input, other=0.0).to(tl.float32)
            factor = gain * opened * tl.sigmoid(opened)
            for head in tl.static_range(HEADS):
                of_head = k // (INPUTS // HEADS) == head
                power = tl.sum(tl.where(of_head, own * own, 0.0)) / (INPUTS // HEADS)
                factor = tl.where(of_head, factor * tl.rsqrt(power + eps), factor)
            own = own * factor
        y = tl.sum(weights * own[None, :], axis=1)
        if HAS_BIAS:
            y += tl.load(bias + n, mask=is_output, other=0.0).to(tl.float32)
        if SWIGLU:
            value = tl.sum(value_weights * own[None, :], axis=1)
            value += tl.load(bias + outputs + n, mask=is_output, other=0.0).to(tl.float32)
            y = y * tl.sigmoid(y) * value
        if LOG_SIGMOID:
            y = scale * (tl.minimum(y, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(y))))
        if HAS_RESIDUAL:
            y += tl.load(residual + row * outputs + n, mask=is_output, other=0.0).to(tl.float32)
        tl.store(out + row * outputs + n, y, mask=is_output)


def _shape(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    eps: float = 0.0,
    gate: Tensor | None = None,
    heads: int = 1,
    swiglu: bool = False,
    log_sigmoid: float = 0.0,
    residual: Tensor | None = None,
) -> Tensor:
    outputs = weight.shape[0] // 2 if swiglu else weight.shape[0]
    return torch.empty(x.shape[0], outputs, dtype=torch.float32, device=x.device)


@operator(fake=_shape)
def small_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    eps: float = 0.0,
    gate: Tensor | None = None,
    heads: int = 1,
    swiglu: bool = False,
    log_sigmoid: float = 0.0,
    residual: Tensor | None = None,
) -> Tensor:
    """As ``lina.core.ops.small_linear.small_linear``, on a GPU."""
    rows, inputs = x.shape
    outputs = weight.shape[0] // 2 if swiglu else weight.shape[0]
    out = torch.empty(rows, outputs, dtype=torch.float32, device=x.device)
    block_k = triton.next_power_of_2(inputs)
    block_n = max(1, min(8, 8_192 // block_k // (2 if swiglu else 1)))
    while block_n > 1 and triton.cdiv(outputs, block_n) < 264:
        block_n //= 2
    small_linear_kernel[(triton.cdiv(outputs, block_n),)](
        x,
        weight,
        weight if bias is None else bias,
        weight if norm_weight is None else norm_weight,
        weight if norm_bias is None else norm_bias,
        x if gate is None else gate,
        x if residual is None else residual,
        out,
        x.stride(0),
        0 if gate is None else gate.stride(0),
        eps,
        log_sigmoid,
        outputs,
        ROWS=rows,
        INPUTS=inputs,
        HEADS=heads,
        LAYER_NORM=norm_weight is not None and gate is None,
        GATED_NORM=gate is not None,
        HAS_BIAS=bias is not None,
        SWIGLU=swiglu,
        LOG_SIGMOID=log_sigmoid != 0.0,
        HAS_RESIDUAL=residual is not None,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=4,
    )
    return out
