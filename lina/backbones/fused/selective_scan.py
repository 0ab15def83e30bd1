"""Fused kernels of the selective scan: lina's own, in Triton, with states in and out and all gradients."""

import functools
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class Tile(NamedTuple):
    """Tile of one program."""

    frames: int
    channels: int
    warps: int


FORWARD = Tile(frames=64, channels=4, warps=4)
BACKWARD = Tile(frames=64, channels=2, warps=4)
"""Its frames are those of ``FORWARD``, which leaves the states at the chunks' borders."""
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
        from lina.backbones.fused.selective_scan_triton import forward_kernel

        u, delta, a, b, c, skip, memory, starts = (
            None if tensor is None else tensor.contiguous() for tensor in arguments
        )
        assert u is not None
        assert memory is not None
        rows, frames, channels = u.shape
        chunks = -(-frames // FORWARD.frames)
        y, final = torch.empty_like(u), torch.empty_like(memory)
        borders = memory.new_empty(rows, chunks, *memory.shape[1:])
        with torch.cuda.device_of(u):
            forward_kernel[(-(-channels // FORWARD.channels), rows)](
                u,
                delta,
                a,
                b,
                c,
                skip,
                _flags(starts, u),
                memory,
                y,
                final,
                borders,
                frames,
                channels,
                **_constants(memory, starts, FORWARD),
            )
        context.save_for_backward(u, delta, a, b, c, skip, starts, borders)
        return y, final

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from lina.backbones.fused.selective_scan_triton import border_gradients_kernel, gradients_kernel

        u, delta, a, b, c, skip, starts, borders = context.saved_tensors
        grad_y, grad_final = (gradient.contiguous() for gradient in gradients)
        rows, frames, channels = u.shape
        chunks = borders.shape[1]
        reaching, grad_memory = torch.empty_like(borders), torch.empty_like(grad_final)
        blocks = -(-channels // (BACKWARD.channels * GROUPS))
        groups = -(-channels // (BACKWARD.channels * blocks))
        grad_u, grad_delta = torch.empty_like(u), torch.empty_like(delta)
        grad_b, grad_c = borders.new_empty(2, groups, *b.shape)
        grad_skip = borders.new_empty(rows, chunks, channels)
        flags = _flags(starts, u)
        with torch.cuda.device_of(u):
            border_gradients_kernel[(-(-channels // FORWARD.channels), rows)](
                delta,
                a,
                c,
                flags,
                grad_y,
                grad_final,
                reaching,
                grad_memory,
                frames,
                channels,
                **_constants(grad_final, starts, FORWARD),
            )
            gradients_kernel[(chunks, rows, groups)](
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
                **_constants(grad_final, starts, BACKWARD),
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


def _constants(memory: Tensor, starts: Tensor | None, tile: Tile) -> dict[str, Any]:
    """Compile-time constants of the kernels."""
    state = memory.shape[-1]
    return {
        "STATE": state,
        "HAS_STARTS": starts is not None,
        "FRAMES": FORWARD.frames,
        "CHANNELS": tile.channels,
        "NUMBERS": 1 << (state - 1).bit_length(),
        "num_warps": tile.warps,
    }
