"""Triton kernels of the selective scan, whose equations are in ``lina.core.ops.selective_scan``.

Imported only if Triton is installed.

Time is cut into chunks, and a chunk into tiles. All chunks are scanned side by side from a zero state, a scan over
chunks gives the state that each begins with, and from that state the outputs of all are computed side by side; the
gradients of states go the same way from the end. So a row of any length has work for the whole GPU.

A program is one warp, and its tile [frames, numbers of state by register, channels, numbers of state by lane]: every
thread has all frames of its own states, so that scans over frames and most sums need no other thread. No tensor of that
size is stored. The forward pass stores the states at the borders of tiles for the backward pass, whose last kernel
loops over many channels of a tile: sums over channels need no atomics, and PyTorch finishes the sums over rows and
time, so the result is deterministic.

Arithmetic is in float32 whatever the dtype of the arguments. Shapes as in ``lina.core.ops.selective_scan``; ``states``,
``decays``, ``gradients`` and ``before`` are [B, chunks, D, N], ``borders`` and ``reaching`` [B, tiles, D, N].
"""

import triton
import triton.language as tl

from lina.backbones.fused.carry_triton import combine

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _load(pointer, row, frames, t, width, column):
    """[frames of the tile, columns] of a [B, T, width] tensor, zero outside of it."""
    inside = ((t >= 0) & (t < frames))[:, None] & (column < width)[None, :]
    at = (row * frames + t)[:, None] * width + column[None, :]
    return tl.load(pointer + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _store(pointer, value, row, frames, t, width, column):
    inside = ((t >= 0) & (t < frames))[:, None] & (column < width)[None, :]
    at = (row * frames + t)[:, None] * width + column[None, :]
    tl.store(pointer + at, value.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _numbers(REGISTERS: tl.constexpr, LANES: tl.constexpr):
    """[registers, lanes]: numbers of state."""
    return tl.arange(0, REGISTERS)[:, None] * LANES + tl.arange(0, LANES)[None, :]


@triton.jit
def _load_numbers(pointer, row, frames, t, number, STATE: tl.constexpr):
    """[frames of the tile, registers, lanes] of a [B, T, N] tensor, zero outside of it."""
    inside = ((t >= 0) & (t < frames))[:, None, None] & (number < STATE)[None, :, :]
    at = (row * frames + t)[:, None, None] * STATE + number[None, :, :]
    return tl.load(pointer + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _decay(delta, rate, starts, row, frames, t, HAS_STARTS: tl.constexpr):
    decay = tl.exp2(delta[:, None, :, None] * (rate * LOG2_E)[None, :, :, :])
    if HAS_STARTS:
        start = tl.load(starts + row * frames + t, mask=(t >= 0) & (t < frames), other=0)
        decay = tl.where((start != 0)[:, None, None, None], 0.0, decay)
    return decay


@triton.jit
def _sum_numbers(x):
    """[frames, channels]: sum over the numbers of state, those of a thread first."""
    return tl.sum(tl.sum(x, axis=1), axis=2)


@triton.jit(do_not_specialize=["frames"])
def states_kernel(
    u,
    delta,
    rate,
    b,
    starts,
    states,
    decays,
    frames,
    channels,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    REGISTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """State after each chunk from a zero state, and the decay of the state over the chunk."""
    chunk, row = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    number = _numbers(REGISTERS, LANES)
    cell = channel[None, :, None] * STATE + number[:, None, :]
    real = (channel < channels)[None, :, None] & (number < STATE)[:, None, :]
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None, None], (frame == FRAMES - 1)[:, None, None, None]

    rates = tl.load(rate + cell, mask=real, other=0.0).to(tl.float32)
    state = tl.zeros((REGISTERS, CHANNELS, LANES), tl.float32)
    whole = tl.full((REGISTERS, CHANNELS, LANES), 1.0, tl.float32)
    tiles = tl.cdiv(tl.minimum(CHUNK, frames - chunk * CHUNK), FRAMES)
    for tile in range(tiles):
        t = chunk * CHUNK + tile * FRAMES + frame
        deltas = _load(delta, row, frames, t, channels, channel)
        us = _load(u, row, frames, t, channels, channel)
        bs = _load_numbers(b, row, frames, t, number, STATE)
        decay = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS)
        written = (deltas * us)[:, None, :, None] * bs[:, :, None, :]
        written += tl.where(first, decay * state[None, :, :, :], 0.0)
        product, scanned = tl.associative_scan((decay, written), 0, combine)
        state = tl.sum(tl.where(last, scanned, 0.0), axis=0)
        whole *= tl.sum(tl.where(last, product, 0.0), axis=0)
    at = (row * tl.cdiv(frames, CHUNK) + chunk) * channels * STATE + cell
    tl.store(states + at, state, mask=real)
    tl.store(decays + at, whole, mask=real)


@triton.jit(do_not_specialize=["frames"])
def outputs_kernel(
    u,
    delta,
    rate,
    b,
    c,
    skip,
    starts,
    before,
    y,
    borders,
    frames,
    channels,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    REGISTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Outputs of each chunk from the state that it begins with, and the states at the borders of its tiles."""
    chunk, row = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    number = _numbers(REGISTERS, LANES)
    cell = channel[None, :, None] * STATE + number[:, None, :]
    real = (channel < channels)[None, :, None] & (number < STATE)[:, None, :]
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None, None], (frame == FRAMES - 1)[:, None, None, None]

    rates = tl.load(rate + cell, mask=real, other=0.0).to(tl.float32)
    skips = tl.load(skip + channel, mask=channel < channels, other=0.0).to(tl.float32)
    width = channels * STATE
    state = tl.load(before + (row * tl.cdiv(frames, CHUNK) + chunk) * width + cell, mask=real, other=0.0)
    tiles = tl.cdiv(tl.minimum(CHUNK, frames - chunk * CHUNK), FRAMES)
    border = row * tl.cdiv(frames, FRAMES) + chunk * (CHUNK // FRAMES)
    for tile in range(tiles):
        tl.store(borders + (border + tile) * width + cell, state, mask=real)
        t = chunk * CHUNK + tile * FRAMES + frame
        deltas = _load(delta, row, frames, t, channels, channel)
        us = _load(u, row, frames, t, channels, channel)
        bs = _load_numbers(b, row, frames, t, number, STATE)
        cs = _load_numbers(c, row, frames, t, number, STATE)
        decay = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS)
        written = (deltas * us)[:, None, :, None] * bs[:, :, None, :]
        written += tl.where(first, decay * state[None, :, :, :], 0.0)
        _, scanned = tl.associative_scan((decay, written), 0, combine)
        out = _sum_numbers(scanned * cs[:, :, None, :]) + us * skips[None, :]
        _store(y, out, row, frames, t, channels, channel)
        state = tl.sum(tl.where(last, scanned, 0.0), axis=0)


@triton.jit(do_not_specialize=["frames"])
def border_gradients_kernel(
    delta,
    rate,
    c,
    starts,
    grad_y,
    before,
    gradients,
    reaching,
    frames,
    channels,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    HAS_BEFORE: tl.constexpr,
    CHUNK: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    REGISTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Gradients of states, through each chunk from its end.

    With ``before``, the gradient that reaches the state after each chunk: ``reaching``, that after each tile. Without:
    ``gradients``, of the state that each chunk begins with, if none reaches its end.
    """
    chunk, row = tl.program_id(0), tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    number = _numbers(REGISTERS, LANES)
    cell = channel[None, :, None] * STATE + number[:, None, :]
    real = (channel < channels)[None, :, None] & (number < STATE)[:, None, :]
    # Frames from the end, so that a scan over them is one from the end.
    frame = FRAMES - 1 - tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None, None], (frame == FRAMES - 1)[:, None, None, None]

    rates = tl.load(rate + cell, mask=real, other=0.0).to(tl.float32)
    width = channels * STATE
    at = (row * tl.cdiv(frames, CHUNK) + chunk) * width + cell
    if HAS_BEFORE:
        gradient = tl.load(before + at, mask=real, other=0.0)
    else:
        gradient = tl.zeros((REGISTERS, CHANNELS, LANES), tl.float32)
    tiles = tl.cdiv(tl.minimum(CHUNK, frames - chunk * CHUNK), FRAMES)
    border = row * tl.cdiv(frames, FRAMES) + chunk * (CHUNK // FRAMES)
    for later in range(tiles):
        tile = tiles - 1 - later
        if HAS_BEFORE:
            tl.store(reaching + (border + tile) * width + cell, gradient, mask=real)
        t = chunk * CHUNK + tile * FRAMES + frame
        deltas = _load(delta, row, frames, t, channels, channel)
        grad = _load(grad_y, row, frames, t, channels, channel)
        cs = _load_numbers(c, row, frames, t, number, STATE)
        decay = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS)
        addend = grad[:, None, :, None] * cs[:, :, None, :]
        addend += tl.where(last, gradient[None, :, :, :], 0.0)
        _, scanned = tl.associative_scan((decay, decay * addend), 0, combine)
        gradient = tl.sum(tl.where(first, scanned, 0.0), axis=0)
    if not HAS_BEFORE:
        tl.store(gradients + at, gradient, mask=real)


@triton.jit(do_not_specialize=["frames", "rows", "blocks"])
def gradients_kernel(
    u,
    delta,
    rate,
    b,
    c,
    skip,
    starts,
    borders,
    reaching,
    grad_y,
    grad_u,
    grad_delta,
    grad_b,
    grad_c,
    grad_skip,
    frames,
    channels,
    rows,
    blocks,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    REGISTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """One program per tile, row and group of ``blocks`` blocks of channels.

    ``grad_b`` and ``grad_c`` are [groups, B, T, N] and ``grad_skip`` [B, tiles, D], to be summed; the gradient of the
    rate, to be summed as well, takes the place of ``reaching``.
    """
    tile, group, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    border = (row * tl.cdiv(frames, FRAMES) + tile) * channels
    number = _numbers(REGISTERS, LANES)
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None, None], (frame == FRAMES - 1)[:, None, None, None]
    t = tile * FRAMES + frame
    bs = _load_numbers(b, row, frames, t, number, STATE)[:, :, None, :]
    cs = _load_numbers(c, row, frames, t, number, STATE)[:, :, None, :]
    bs_before = _load_numbers(b, row, frames, t - 1, number, STATE)[:, :, None, :]
    sum_b = tl.zeros((FRAMES, REGISTERS, CHANNELS, LANES), tl.float32)
    sum_c = tl.zeros((FRAMES, REGISTERS, CHANNELS, LANES), tl.float32)
    for block in range(blocks):
        channel = (group * blocks + block) * CHANNELS + tl.arange(0, CHANNELS)
        of_rate = channel[None, :, None] * STATE + number[:, None, :]
        real = (channel < channels)[None, :, None] & (number < STATE)[:, None, :]
        cell = border * STATE + of_rate
        rates = tl.load(rate + of_rate, mask=real, other=0.0).to(tl.float32)
        skips = tl.load(skip + channel, mask=channel < channels, other=0.0).to(tl.float32)
        deltas = _load(delta, row, frames, t, channels, channel)
        us = _load(u, row, frames, t, channels, channel)
        grad = _load(grad_y, row, frames, t, channels, channel)
        written = (deltas * us)[:, None, :, None]

        # States before each frame: a scan over the frames one earlier, from the border's state.
        state = tl.load(borders + cell, mask=real, other=0.0)
        deltas_before = _load(delta, row, frames, t - 1, channels, channel)
        us_before = _load(u, row, frames, t - 1, channels, channel)
        decay_before = _decay(deltas_before, rates, starts, row, frames, t - 1, HAS_STARTS)
        written_before = (deltas_before * us_before)[:, None, :, None] * bs_before
        written_before = tl.where(first, state[None, :, :, :], written_before)
        _, before = tl.associative_scan((decay_before, written_before), 0, combine)
        kept = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS) * before
        sum_c += (kept + written * bs) * grad[:, None, :, None]

        # Gradients of the states after each frame, through the decays of the frames one later.
        gradient = tl.load(reaching + cell, mask=real, other=0.0)
        deltas_after = _load(delta, row, frames, t + 1, channels, channel)
        decay_after = _decay(deltas_after, rates, starts, row, frames, t + 1, HAS_STARTS)
        addend = grad[:, None, :, None] * cs + tl.where(last, gradient[None, :, :, :], 0.0)
        _, gradients = tl.associative_scan((decay_after, addend), 0, combine, reverse=True)

        sum_b += gradients * written
        of_written = _sum_numbers(gradients * bs)
        through = gradients * kept
        of_delta = _sum_numbers(through * rates[None, :, :, :]) + of_written * us
        _store(grad_delta, of_delta, row, frames, t, channels, channel)
        _store(grad_u, of_written * deltas + grad * skips[None, :], row, frames, t, channels, channel)
        tl.store(reaching + cell, tl.sum(through * deltas[:, None, :, None], axis=0), mask=real)
        tl.store(grad_skip + border + channel, tl.sum(grad * us, axis=0), mask=channel < channels)
    at = ((group * rows + row) * frames + t)[:, None, None] * STATE + number[None, :, :]
    inside = (t < frames)[:, None, None] & (number < STATE)[None, :, :]
    tl.store(grad_b + at, tl.sum(sum_b, axis=2), mask=inside)
    tl.store(grad_c + at, tl.sum(sum_c, axis=2), mask=inside)
