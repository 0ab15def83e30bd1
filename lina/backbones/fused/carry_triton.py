"""Triton kernel of the scan over chunks, for recurrences that compute all chunks side by side.

Imported only if Triton is installed.
"""

import triton
import triton.language as tl


@triton.jit
def combine(decay, state, next_decay, next_state):
    """Two steps of state = decay * state + addend as one."""
    return decay * next_decay, state * next_decay + next_state


@triton.jit(do_not_specialize=["chunks", "cells"])
def carry_kernel(
    states,
    decays,
    memory,
    before,
    final,
    chunks,
    cells,
    SHARING: tl.constexpr,
    BACKWARDS: tl.constexpr,
    CHUNKS: tl.constexpr,
    CELLS: tl.constexpr,
):
    """The state that reaches each chunk, and the one after the last; ``BACKWARDS``: from the last chunk.

    Chunk by chunk: state = decay * state + the chunk's own. ``states`` and ``before`` are [B, chunks, cells], of which
    ``SHARING`` cells in turn have one of the ``decays``, [B, chunks, cells / SHARING].
    """
    row = tl.program_id(1).to(tl.int64)
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    real = cell < cells
    place = tl.arange(0, CHUNKS)
    first, last = (place == 0)[:, None], (place == CHUNKS - 1)[:, None]
    carried = tl.load(memory + row * cells + cell, mask=real, other=0.0).to(tl.float32)
    start = row * chunks
    begin = chunks - 1 if BACKWARDS else 0
    tl.store(before + (start + begin) * cells + cell, carried, mask=real)
    for group in range(tl.cdiv(chunks, CHUNKS)):
        done = group * CHUNKS + place
        chunk = chunks - 1 - done if BACKWARDS else done
        following = chunk - 1 if BACKWARDS else chunk + 1
        inside = (done < chunks)[:, None] & real[None, :]
        of_decay = (start + chunk)[:, None] * (cells // SHARING) + (cell // SHARING)[None, :]
        decay = tl.load(decays + of_decay, mask=inside, other=1.0)
        state = tl.load(states + (start + chunk)[:, None] * cells + cell[None, :], mask=inside, other=0.0)
        state += tl.where(first, decay * carried[None, :], 0.0)
        _, scanned = tl.associative_scan((decay, state), 0, combine)
        after = (start + following)[:, None] * cells + cell[None, :]
        tl.store(before + after, scanned, mask=(done + 1 < chunks)[:, None] & real[None, :])
        carried = tl.sum(tl.where(last, scanned, 0.0), axis=0)
    tl.store(final + row * cells + cell, carried, mask=real)
