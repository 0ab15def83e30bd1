"""Triton kernels of the selective scan, whose equations are in ``lina.core.ops.selective_scan``.

Imported only if Triton is installed.

Time is cut into chunks. Within one, a parallel scan over a tile of [frames, channels, numbers of state] gives all its
states in registers; no tensor of that size is stored. The forward pass stores the states at the borders of chunks for
the backward pass. That pass first propagates the gradient from border to border, then computes all chunks at once; a
program loops over many channels of one chunk, so that sums over channels need no atomics, and PyTorch finishes the sums
over rows and time: the result is deterministic.

Arithmetic is in float32 whatever the dtype of the arguments. Shapes as in ``lina.core.ops.selective_scan``;
``borders`` and ``reaching`` are [B, chunks, D, N].
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _combine(decay, state, next_decay, next_state):
    return decay * next_decay, state * next_decay + next_state


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
def _decay(delta, rate, starts, row, frames, t, HAS_STARTS: tl.constexpr):
    decay = tl.exp2(delta[:, :, None] * (rate * LOG2_E)[None, :, :])
    if HAS_STARTS:
        start = tl.load(starts + row * frames + t, mask=(t >= 0) & (t < frames), other=0)
        decay = tl.where((start != 0)[:, None, None], 0.0, decay)
    return decay


@triton.jit(do_not_specialize=["frames"])
def forward_kernel(
    u,
    delta,
    rate,
    b,
    c,
    skip,
    starts,
    memory,
    y,
    final,
    borders,
    frames,
    channels,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    NUMBERS: tl.constexpr,
):
    """One program per row and block of channels, over the chunks in order."""
    row = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    number = tl.arange(0, NUMBERS)
    cell = channel[:, None] * STATE + number[None, :]
    real = (channel < channels)[:, None] & (number < STATE)[None, :]
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None], (frame == FRAMES - 1)[:, None, None]

    rates = tl.load(rate + cell, mask=real, other=0.0).to(tl.float32)
    skips = tl.load(skip + channel, mask=channel < channels, other=0.0).to(tl.float32)
    state = tl.load(memory + row * channels * STATE + cell, mask=real, other=0.0).to(tl.float32)
    chunks = tl.cdiv(frames, FRAMES)
    for chunk in range(chunks):
        tl.store(borders + (row * chunks + chunk) * channels * STATE + cell, state, mask=real)
        t = chunk * FRAMES + frame
        deltas = _load(delta, row, frames, t, channels, channel)
        us = _load(u, row, frames, t, channels, channel)
        bs = _load(b, row, frames, t, STATE, number)
        cs = _load(c, row, frames, t, STATE, number)
        decay = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS)
        written = (deltas * us)[:, :, None] * bs[:, None, :]
        written += tl.where(first, decay * state[None, :, :], 0.0)
        _, states = tl.associative_scan((decay, written), 0, _combine)
        out = tl.sum(states * cs[:, None, :], axis=2) + us * skips[None, :]
        _store(y, out, row, frames, t, channels, channel)
        state = tl.sum(tl.where(last, states, 0.0), axis=0)
    tl.store(final + row * channels * STATE + cell, state, mask=real)


@triton.jit(do_not_specialize=["frames"])
def border_gradients_kernel(
    delta,
    rate,
    c,
    starts,
    grad_y,
    grad_final,
    reaching,
    grad_memory,
    frames,
    channels,
    STATE: tl.constexpr,
    HAS_STARTS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
    NUMBERS: tl.constexpr,
):
    """Gradient of the state after each chunk, last chunk first."""
    row = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    number = tl.arange(0, NUMBERS)
    cell = channel[:, None] * STATE + number[None, :]
    real = (channel < channels)[:, None] & (number < STATE)[None, :]
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None], (frame == FRAMES - 1)[:, None, None]

    rates = tl.load(rate + cell, mask=real, other=0.0).to(tl.float32)
    gradient = tl.load(grad_final + row * channels * STATE + cell, mask=real, other=0.0).to(tl.float32)
    chunks = tl.cdiv(frames, FRAMES)
    for later in range(chunks):
        chunk = chunks - 1 - later
        tl.store(reaching + (row * chunks + chunk) * channels * STATE + cell, gradient, mask=real)
        t = chunk * FRAMES + frame
        deltas = _load(delta, row, frames, t, channels, channel)
        grad = _load(grad_y, row, frames, t, channels, channel)
        cs = _load(c, row, frames, t, STATE, number)
        decay = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS)
        addend = grad[:, :, None] * cs[:, None, :] + tl.where(last, gradient[None, :, :], 0.0)
        _, gradients = tl.associative_scan((decay, decay * addend), 0, _combine, reverse=True)
        gradient = tl.sum(tl.where(first, gradients, 0.0), axis=0)
    tl.store(grad_memory + row * channels * STATE + cell, gradient, mask=real)


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
    NUMBERS: tl.constexpr,
):
    """One program per chunk, row and group of ``blocks`` blocks of channels.

    ``grad_b`` and ``grad_c`` are [groups, B, T, N] and ``grad_skip`` [B, chunks, D], to be summed; the gradient of the
    rate, to be summed as well, takes the place of ``reaching``.
    """
    chunk = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    group = tl.program_id(2)
    chunks = tl.cdiv(frames, FRAMES)
    border = (row * chunks + chunk) * channels
    number = tl.arange(0, NUMBERS)
    frame = tl.arange(0, FRAMES)
    first, last = (frame == 0)[:, None, None], (frame == FRAMES - 1)[:, None, None]
    t = chunk * FRAMES + frame
    bs = _load(b, row, frames, t, STATE, number)
    cs = _load(c, row, frames, t, STATE, number)
    bs_before = _load(b, row, frames, t - 1, STATE, number)
    sum_b = tl.zeros((FRAMES, NUMBERS), tl.float32)
    sum_c = tl.zeros((FRAMES, NUMBERS), tl.float32)
    for block in range(blocks):
        channel = (group * blocks + block) * CHANNELS + tl.arange(0, CHANNELS)
        cell = border * STATE + channel[:, None] * STATE + number[None, :]
        real = (channel < channels)[:, None] & (number < STATE)[None, :]
        of_rate = channel[:, None] * STATE + number[None, :]
        rates = tl.load(rate + of_rate, mask=real, other=0.0).to(tl.float32)
        skips = tl.load(skip + channel, mask=channel < channels, other=0.0).to(tl.float32)
        deltas = _load(delta, row, frames, t, channels, channel)
        us = _load(u, row, frames, t, channels, channel)
        grad = _load(grad_y, row, frames, t, channels, channel)

        # States before each frame: a scan over the frames one earlier, from the border's state.
        state = tl.load(borders + cell, mask=real, other=0.0)
        deltas_before = _load(delta, row, frames, t - 1, channels, channel)
        us_before = _load(u, row, frames, t - 1, channels, channel)
        decay_before = _decay(deltas_before, rates, starts, row, frames, t - 1, HAS_STARTS)
        written_before = (deltas_before * us_before)[:, :, None] * bs_before[:, None, :]
        written_before = tl.where(first, state[None, :, :], written_before)
        _, before = tl.associative_scan((decay_before, written_before), 0, _combine)

        # Gradients of the states after each frame, through the decays of the frames one later.
        gradient = tl.load(reaching + cell, mask=real, other=0.0)
        deltas_after = _load(delta, row, frames, t + 1, channels, channel)
        decay_after = _decay(deltas_after, rates, starts, row, frames, t + 1, HAS_STARTS)
        addend = grad[:, :, None] * cs[:, None, :] + tl.where(last, gradient[None, :, :], 0.0)
        _, gradients = tl.associative_scan((decay_after, addend), 0, _combine, reverse=True)

        kept = _decay(deltas, rates, starts, row, frames, t, HAS_STARTS) * before
        states = kept + (deltas * us)[:, :, None] * bs[:, None, :]
        sum_c += tl.sum(states * grad[:, :, None], axis=1)
        sum_b += tl.sum(gradients * (deltas * us)[:, :, None], axis=1)
        of_written = tl.sum(gradients * bs[:, None, :], axis=2)
        through = gradients * kept
        of_delta = tl.sum(through * rates[None, :, :], axis=2) + of_written * us
        _store(grad_delta, of_delta, row, frames, t, channels, channel)
        _store(grad_u, of_written * deltas + grad * skips[None, :], row, frames, t, channels, channel)
        tl.store(reaching + cell, tl.sum(through * deltas[:, :, None], axis=0), mask=real)
        tl.store(grad_skip + border + channel, tl.sum(grad * us, axis=0), mask=channel < channels)
    _store(grad_b, sum_b, group * rows + row, frames, t, STATE, number)
    _store(grad_c, sum_c, group * rows + row, frames, t, STATE, number)
