"""The Triton kernel of ``lina.backbones.fused.memory_step``: a matrix memory is read and written once, in place."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lina.core.ops.operator import operator


@triton.jit
def memory_step_kernel(
    q,
    k,
    v,
    log_decay,
    remove,
    restore,
    bonus,
    memory,
    out,
    scale,
    gate_scale,
    q_stride,
    k_stride,
    v_stride,
    q_offset,
    k_offset,
    v_offset,
    heads,
    each,
    KEYS: tl.constexpr,
    VALUES: tl.constexpr,
    CHANNELWISE: tl.constexpr,
    LOG_SIGMOID: tl.constexpr,
    DELTA: tl.constexpr,
    BONUS: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """One program per block of value channels, and head of a row; q and k are shared by ``each`` heads."""
    head_of_row = tl.program_id(1).to(tl.int64)
    row, head = head_of_row // heads, head_of_row % heads
    queries = q + q_offset + row * q_stride + head // each * KEYS
    written = k + k_offset + row * k_stride + head // each * KEYS
    column = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    is_column = column < VALUES
    value = tl.load(v + v_offset + row * v_stride + head * VALUES + column, mask=is_column, other=0.0).to(
        tl.float32
    )
    cells = memory + head_of_row * KEYS * VALUES
    if not CHANNELWISE:
        kept = tl.exp(tl.load(log_decay + head_of_row).to(tl.float32))
    result = tl.zeros((BLOCK_V,), tl.float32)
    own = 0.0
    for start in tl.static_range(0, KEYS, BLOCK_K):
        channel = start + tl.arange(0, BLOCK_K)
        is_channel = channel < KEYS
        query = tl.load(queries + channel, mask=is_channel, other=0.0).to(tl.float32)
        key = tl.load(written + channel, mask=is_channel, other=0.0).to(tl.float32)
        place = cells + channel[:, None] * VALUES + column[None, :]
        inside = is_channel[:, None] & is_column[None, :]
        state = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        if BONUS:
            # The memory is read before the frame is written; the frame itself counts with a bonus.
            result += tl.sum(query[:, None] * state, axis=0)
            weight = tl.load(bonus + head * KEYS + channel, mask=is_channel, other=0.0).to(tl.float32)
            own += tl.sum(query * weight * key)
        if DELTA:
            removing = tl.load(remove + head_of_row * KEYS + channel, mask=is_channel, other=0.0).to(
                tl.float32
            )
            restoring = tl.load(restore + head_of_row * KEYS + channel, mask=is_channel, other=0.0).to(
                tl.float32
            )
            read = tl.sum(removing[:, None] * state, axis=0)
        if CHANNELWISE:
            decays = tl.load(log_decay + head_of_row * KEYS + channel, mask=is_channel, other=0.0)
            decays = decays.to(tl.float32)
            if LOG_SIGMOID:
                decays = gate_scale * (tl.minimum(decays, 0.0) - tl.log(1.0 + tl.exp(-tl.abs(decays))))
            state = state * tl.exp(decays)[:, None]
        else:
            state = state * kept
        state += key[:, None] * value[None, :]
        if DELTA:
            state += restoring[:, None] * read[None, :]
        tl.store(place, state.to(memory.dtype.element_ty), mask=inside)
        if not BONUS:
            result += tl.sum(query[:, None] * state, axis=0)
    result = scale * result
    if BONUS:
        result += own * value
    tl.store(out + head_of_row * VALUES + column, result, mask=is_column)


def tiles(rows: int, heads: int, keys: int, values: int, wide: bool) -> tuple[int, int, int]:
    """Key channels and value channels of a tile, and warps: all keys of a value channel, long stretches of memory, and
    enough programs for the GPU. On an H200 within 3 % of the best of 60 tiles, for 1 to 256 rows of 4 x 256 x 512.
    """
    block_k = triton.next_power_of_2(keys)
    block_v = max(16, min(64, 16_384 // block_k))
    while block_v > 16 and rows * heads * triton.cdiv(values, block_v) < 264:
        block_v //= 2
    return block_k, block_v, 2 if block_v * block_k <= 4_096 and not wide else 4


def _shape(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    scale: float,
    remove: Tensor | None = None,
    restore: Tensor | None = None,
    bonus: Tensor | None = None,
) -> Tensor:
    return _reading(memory)


@operator(fake=_shape, mutates=["memory"])
def memory_step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    memory: Tensor,
    scale: float,
    remove: Tensor | None = None,
    restore: Tensor | None = None,
    bonus: Tensor | None = None,
) -> Tensor:
    """As ``lina.backbones.fused.memory_step.memory_step``, on a GPU; all but q, k and v are contiguous."""
    q, k, v = (_with_whole_heads(tensor) for tensor in (q, k, v))
    return _launch(q, k, v, (0, 0, 0), q.shape[1], log_decay, memory, scale, remove, restore, bonus)


def _packed_shape(
    packed: Tensor,
    offsets: list[int],
    log_decay: Tensor,
    memory: Tensor,
    scale: float,
    log_sigmoid: float = 0.0,
) -> Tensor:
    return _reading(memory)


@operator(fake=_packed_shape, mutates=["memory"])
def packed_memory_step(
    packed: Tensor,
    offsets: list[int],
    log_decay: Tensor,
    memory: Tensor,
    scale: float,
    log_sigmoid: float = 0.0,
) -> Tensor:
    """The same for q, k and v that lie side by side in each row of ``packed``, from ``offsets`` on.

    A compiler would copy views of it before it passes them to an operator.
    """
    q_offset, k_offset, v_offset = offsets
    heads = memory.shape[1]
    return _launch(
        packed,
        packed,
        packed,
        (q_offset, k_offset, v_offset),
        heads,
        log_decay,
        memory,
        scale,
        None,
        None,
        None,
        log_sigmoid,
    )


def _launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    offsets: tuple[int, int, int],
    groups: int,
    log_decay: Tensor,
    memory: Tensor,
    scale: float,
    remove: Tensor | None,
    restore: Tensor | None,
    bonus: Tensor | None,
    log_sigmoid: float = 0.0,
) -> Tensor:
    rows, heads, keys, values = memory.shape
    block_k, block_v, warps = tiles(rows, heads, keys, values, memory.element_size() == 4)
    out = _reading(memory)
    grid = (triton.cdiv(values, block_v), rows * heads)
    memory_step_kernel[grid](
        q,
        k,
        v,
        log_decay.contiguous(),
        q if remove is None else remove.contiguous(),
        q if restore is None else restore.contiguous(),
        q if bonus is None else bonus.contiguous(),
        memory,
        out,
        scale,
        log_sigmoid,
        q.stride(0),
        k.stride(0),
        v.stride(0),
        *offsets,
        heads,
        heads // groups,
        KEYS=keys,
        VALUES=values,
        CHANNELWISE=log_decay.shape[-1] == keys,
        LOG_SIGMOID=log_sigmoid != 0.0,
        DELTA=remove is not None,
        BONUS=bonus is not None,
        BLOCK_K=block_k,
        BLOCK_V=block_v,
        num_warps=warps,
    )
    return out


def _reading(memory: Tensor) -> Tensor:
    rows, heads, _, values = memory.shape
    return torch.empty(rows, heads, values, dtype=torch.float32, device=memory.device)


def _with_whole_heads(x: Tensor) -> Tensor:
    """Rows may lie apart; what a row holds is contiguous."""
    return x if x.stride(-1) == 1 and x.stride(-2) == x.shape[-1] else x.contiguous()
