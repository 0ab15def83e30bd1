"""The Triton kernel of ``lina.backbones.fused.selective_step``: Mamba's memory is read and written once, in place."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lina.core.ops.operator import operator

LINEAR_FROM = 20.0
"""Softplus is its argument from here on, as in PyTorch."""


@triton.jit
def selective_step_kernel(
    u,
    size,
    a_log,
    skip,
    selected,
    entered,
    memory,
    out,
    u_stride,
    size_stride,
    selected_stride,
    entered_stride,
    channels,
    b_offset,
    gate_offset,
    linear_from,
    NUMBERS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One program per block of channels of a row."""
    row = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * BLOCK_D + tl.arange(0, BLOCK_D)
    number = tl.arange(0, BLOCK_N)
    is_channel, is_number = channel < channels, number < NUMBERS
    inside = is_channel[:, None] & is_number[None, :]
    value = tl.load(u + row * u_stride + channel, mask=is_channel, other=0.0).to(tl.float32)
    delta = tl.load(size + row * size_stride + channel, mask=is_channel, other=0.0).to(tl.float32)
    small = tl.minimum(delta, linear_from)
    # log1p by a quotient, which is exact where exp(x) is far below 1 (Higham 2002, section 1.14.1).
    power = tl.exp(small)
    whole = 1.0 + power
    logarithm = tl.where(whole == 1.0, power, tl.log(whole) * (power / (whole - 1.0)))
    delta = tl.where(delta > linear_from, delta, logarithm)
    chosen = selected + row * selected_stride + b_offset
    b = tl.load(chosen + number, mask=is_number, other=0.0).to(tl.float32)
    c = tl.load(chosen + NUMBERS + number, mask=is_number, other=0.0).to(tl.float32)
    rate = tl.load(a_log + channel[:, None] * NUMBERS + number[None, :], mask=inside, other=0.0).to(
        tl.float32
    )
    place = memory + row * channels * NUMBERS + channel[:, None] * NUMBERS + number[None, :]
    state = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    state = state * tl.exp(-delta[:, None] * tl.exp(rate)) + (delta * value)[:, None] * b[None, :]
    tl.store(place, state.to(memory.dtype.element_ty), mask=inside)
    own = tl.load(skip + channel, mask=is_channel, other=0.0).to(tl.float32)
    gate = tl.load(entered + row * entered_stride + gate_offset + channel, mask=is_channel, other=0.0)
    gate = gate.to(tl.float32)
    result = (tl.sum(state * c[None, :], axis=1) + own * value) * gate * tl.sigmoid(gate)
    tl.store(out + row * channels + channel, result, mask=is_channel)


def _shape(
    u: Tensor, size: Tensor, a_log: Tensor, skip: Tensor, selected: Tensor, entered: Tensor, memory: Tensor
) -> Tensor:
    return torch.empty(memory.shape[:2], dtype=torch.float32, device=memory.device)


@operator(fake=_shape, mutates=["memory"])
def selective_step(
    u: Tensor, size: Tensor, a_log: Tensor, skip: Tensor, selected: Tensor, entered: Tensor, memory: Tensor
) -> Tensor:
    """As ``lina.backbones.fused.selective_step.selective_step``, on a GPU."""
    rows, channels, numbers = memory.shape
    out = torch.empty(rows, channels, dtype=torch.float32, device=memory.device)
    block_n = triton.next_power_of_2(numbers)
    block_d = max(8, min(64, 2_048 // block_n))
    while block_d > 8 and rows * triton.cdiv(channels, block_d) < 264:
        block_d //= 2
    selective_step_kernel[(triton.cdiv(channels, block_d), rows)](
        u,
        size,
        a_log,
        skip,
        selected,
        entered,
        memory,
        out,
        u.stride(0),
        size.stride(0),
        selected.stride(0),
        entered.stride(0),
        channels,
        selected.shape[1] - 2 * numbers,
        entered.shape[1] - channels,
        LINEAR_FROM,
        NUMBERS=numbers,
        BLOCK_D=block_d,
        BLOCK_N=block_n,
        num_warps=4 if block_d * block_n >= 1_024 else 1,
    )
    return out
