"""Scan over chunks of a recurrence whose chunks are computed side by side, on a GPU."""

import torch
from jaxtyping import Float
from torch import Tensor

TILE = {"CHUNKS": 16, "CELLS": 64}
"""Chunks and cells that a program, of one warp, scans at once."""


def carry(
    states: Float[Tensor, "B chunks ..."],
    decays: Float[Tensor, "B chunks ..."],
    memory: Float[Tensor, "B ..."],
    dtype: torch.dtype,
    backwards: bool,
) -> tuple[Float[Tensor, "B chunks ..."], Float[Tensor, "B ..."]]:
    """Carry the memory through all chunks: memory = decay * memory + the chunk's own state.

    ``decays`` has one number per cell, or one for cells that lie side by side, such as those of a head.

    Returns:
        What reaches each chunk, in ``dtype``, and what is left after the last; ``backwards``: after the first.
    """
    from lina.backbones.fused.carry_triton import carry_kernel

    rows, chunks = states.shape[:2]
    before, final = torch.empty_like(states, dtype=dtype), torch.empty_like(memory)
    cells = memory[0].numel()
    carry_kernel[(-(-cells // TILE["CELLS"]), rows)](
        states,
        decays,
        memory,
        before,
        final,
        chunks,
        cells,
        SHARING=cells // decays[0, 0].numel(),
        BACKWARDS=backwards,
        num_warps=1,
        **TILE,
    )
    return before, final
