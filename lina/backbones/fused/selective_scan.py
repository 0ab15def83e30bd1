"""Fused kernels of the selective scan: lina's own, in Triton, with states in and out and all gradients."""

import functools
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from lina.backbones.fused.carry import carry

CHUNK = 256
"""Frames that a program goes through one tile after the other; chunks are computed side by side."""
TILE = 8
"""Frames of a tile where the state has up to 16 numbers per channel; fewer where it has more."""
WARP = 32
"""Threads of a program."""
GROUPS = 8
"""Groups of channels for the gradients of b and c: more groups use the machine better and need more memory."""


@functools.cache
def obstacle() -> str | None:
    """Reason why the kernels cannot run here, with the remedy; None if they can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        import lina.backbones.fused.selective_scan_triton  # noqa: F401
    except Exception as error:
        return f"Triton does not import ({type(error).__name__}: {error}); pip install triton"
    return None


def selective_scan(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    a: Float[Tensor, "D N"],
    b: Float[Tensor, "B T N"],
    c: Float[Tensor, "B T N"],
    skip: Float[Tensor, "D"],
    memory: Float[Tensor, "B D N"],
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
    """As ``lina.core.ops.selective_scan.selective_scan``, on a GPU, in float32 inside.

    Outputs have the dtype of ``u``, which may be bfloat16, and so may ``delta``, ``b`` and ``c``; the state is float32.
    """
    return _SelectiveScan.apply(u, delta, a, b, c, skip, memory, starts)  # type: ignore[no-any-return, no-untyped-call]


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, *arguments: Tensor | None) -> tuple[Tensor, Tensor]:
        from lina.backbones.fused.selective_scan_triton import outputs_kernel, states_kernel

        u, delta, a, b, c, skip, memory, starts = (
            None if tensor is None else tensor.contiguous() for tensor in arguments
        )
        assert u is not None
        assert memory is not None
        rows, frames, channels = u.shape
        tile = _tile(memory.shape[-1])
        options = {**tile, "CHUNK": CHUNK, "STATE": memory.shape[-1], "HAS_STARTS": starts is not None}
        flags = _flags(starts, u)
        chunks, tiles = -(-frames // CHUNK), -(-frames // tile["FRAMES"])
        grid = (chunks, -(-channels // tile["CHANNELS"]), rows)
        y, borders = torch.empty_like(u), memory.new_empty(rows, tiles, *memory.shape[1:])
        states, decays = memory.new_empty(2, rows, chunks, *memory.shape[1:])
        with torch.cuda.device_of(u):
            states_kernel[grid](
                u, delta, a, b, flags, states, decays, frames, channels, num_warps=1, **options
            )
            before, final = carry(states, decays, memory, torch.float32, backwards=False)
            outputs_kernel[grid](
                u,
                delta,
                a,
                b,
                c,
                skip,
                flags,
                before,
                y,
                borders,
                frames,
                channels,
                num_warps=1,
                **options,
            )
        context.save_for_backward(u, delta, a, b, c, skip, starts, decays, borders)
        return y, final

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from lina.backbones.fused.selective_scan_triton import border_gradients_kernel, gradients_kernel

        u, delta, a, b, c, skip, starts, decays, borders = context.saved_tensors
        grad_y, grad_final = (gradient.contiguous() for gradient in gradients)
        rows, frames, channels = u.shape
        tile = _tile(a.shape[-1])
        options = {**tile, "STATE": a.shape[-1], "HAS_STARTS": starts is not None}
        flags = _flags(starts, u)
        chunks, tiles = decays.shape[1], borders.shape[1]
        grid = (chunks, -(-channels // tile["CHANNELS"]), rows)
        blocks = -(-channels // (tile["CHANNELS"] * GROUPS))
        groups = -(-channels // (tile["CHANNELS"] * blocks))
        in_chunks, reaching = torch.empty_like(decays), torch.empty_like(borders)
        grad_u, grad_delta = torch.empty_like(u), torch.empty_like(delta)
        grad_b, grad_c = borders.new_empty(2, groups, *b.shape)
        grad_skip = borders.new_empty(rows, tiles, channels)

        def through_chunks(before: Tensor | None) -> None:
            border_gradients_kernel[grid](
                delta,
                a,
                c,
                flags,
                grad_y,
                before,
                in_chunks,
                reaching,
                frames,
                channels,
                HAS_BEFORE=before is not None,
                CHUNK=CHUNK,
                num_warps=1,
                **options,
            )

        with torch.cuda.device_of(u):
            through_chunks(None)
            before, grad_memory = carry(in_chunks, decays, grad_final, torch.float32, backwards=True)
            through_chunks(before)
            gradients_kernel[(tiles, groups, rows)](
                u,
                delta,
                a,
                b,
                c,
                skip,
                flags,
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
                num_warps=1,
                **options,
            )
        return (
            grad_u,
            grad_delta,
            reaching.sum((0, 1)).to(a.dtype),
            grad_b.sum(0).to(b.dtype),
            grad_c.sum(0).to(c.dtype),
            grad_skip.sum((0, 1)).to(skip.dtype),
            grad_memory,
            None,
        )


def _flags(starts: Tensor | None, u: Tensor) -> Tensor:
    """Restarts as bytes; without restarts, a tensor that is never read."""
    return u if starts is None else starts.to(torch.uint8)


def _tile(state: int) -> dict[str, int]:
    """Tile of a program by the numbers of state per channel; up to 128, a thread has 16 numbers of each tensor."""
    numbers = 1 << (state - 1).bit_length()
    lanes = min(numbers, 8)
    registers = numbers // lanes
    frames = max(1, min(TILE, 2 * TILE // registers))
    return {"FRAMES": frames, "CHANNELS": WARP // lanes, "REGISTERS": registers, "LANES": lanes}
