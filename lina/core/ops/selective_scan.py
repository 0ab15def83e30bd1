"""Selective scan of Mamba: reference forms, parallel and stepwise.

    h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t        y_t = C_t . h_t + D u_t

per channel, with a state of N numbers (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State
Spaces", arXiv 2312.00752, eq. 2 and algorithm 2, where B is discretized as delta B). Time is cut into chunks of C
frames. All chunks scan their frames side by side, first from a zero state, then from the state that reaches each; the
backward pass does the same from the end. Decays are exponentials of one frame's or one chunk's own sum: never
exp(+cumsum), which overflows, never a difference of cumulative sums.

Saved for the backward pass are the arguments and the states at the chunks' borders; all else is recomputed. One block
of chunks at a time is computed, small enough for a core's cache, since memory traffic dominates the cost of a scan.

Shapes: B rows, T frames, D channels, N numbers of state per channel; K chunks of all rows together.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = 32
CACHED = 65_536
"""Numbers of a block's state per thread, the fewest that PyTorch assigns to one."""
ON_ACCELERATOR = 1_048_576
"""Numbers of a block's state where the number of kernels, not the cache, is the limit."""


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
    """Parallel form: outputs and the final state. ``a`` and ``-delta`` <= 0.

    ``starts``: frames before which the state is forgotten. Computes in the dtype of its arguments, which must agree.
    Cost: O(T D N) per row; memory for the backward pass: O(T D N / C).
    """
    frames = u.shape[1]
    size = min(CHUNK, frames)
    padding = -frames % size
    if padding:  # padding writes nothing and forgets nothing, since delta = 0
        u, delta, b, c = (F.pad(tensor, (0, 0, 0, padding)) for tensor in (u, delta, b, c))
        starts = None if starts is None else F.pad(starts, (0, padding))
    y, final = _SelectiveScan.apply(u, delta, a, b, c, memory, starts, size)  # type: ignore[no-untyped-call]
    return torch.addcmul(y, u, skip)[:, :frames], final


def selective_scan_step(
    u: Float[Tensor, "B D"],
    delta: Float[Tensor, "B D"],
    a: Float[Tensor, "D N"],
    b: Float[Tensor, "B N"],
    c: Float[Tensor, "B N"],
    skip: Float[Tensor, "D"],
    memory: Float[Tensor, "B D N"],
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D N"]]:
    """Step form: one frame."""
    decay = (delta[..., None] * a).exp()
    memory = torch.addcmul(memory * decay, (delta * u)[..., None], b[:, None])
    return torch.addcmul((memory @ c[..., None]).squeeze(-1), u, skip), memory


class _Chunks(NamedTuple):
    """Inputs of the scan, cut into chunks."""

    written: Float[Tensor, "K C D"]
    """delta u."""
    delta: Float[Tensor, "K C D"]
    log2_decay: Float[Tensor, "N D"]
    """Log-decay per unit delta, to base 2: exp2 is fast where results underflow, exp is not."""
    b: Float[Tensor, "K C N"]
    c: Float[Tensor, "K C N"]
    starts: Bool[Tensor, "K C"] | None

    def blocks(self) -> Iterator[tuple[slice, "_Chunks"]]:
        total = CACHED * torch.get_num_threads() if self.b.device.type == "cpu" else ON_ACCELERATOR
        size = max(1, total // self.log2_decay.numel())
        for begin in range(0, self.b.shape[0], size):
            part = slice(begin, begin + size)
            starts = None if self.starts is None else self.starts[part]
            yield (
                part,
                self._replace(
                    written=self.written[part],
                    delta=self.delta[part],
                    b=self.b[part],
                    c=self.c[part],
                    starts=starts,
                ),
            )

    def decay(self, frame: int, out: Float[Tensor, "K N D"]) -> Float[Tensor, "K N D"]:
        """Decay of the state at a frame."""
        torch.mul(self.delta[:, frame, None], self.log2_decay, out=out).exp2_()
        if self.starts is not None:
            out.masked_fill_(self.starts[:, frame, None, None], 0.0)
        return out

    def write(self, frame: int, state: Float[Tensor, "K N D"]) -> None:
        state.addcmul_(self.written[:, frame, None], self.b[:, frame, :, None])

    def whole_decay(self) -> Float[Tensor, "K N D"]:
        """Decay of the state over a chunk."""
        decay = (self.delta.sum(1)[:, None] * self.log2_decay).exp2_()
        return decay if self.starts is None else decay.masked_fill_(self.starts.any(1)[:, None, None], 0.0)


class _SelectiveScan(torch.autograd.Function):
    """The scan without the skip connection, over whole chunks."""

    @staticmethod
    def forward(
        context: Any,
        u: Float[Tensor, "B T D"],
        delta: Float[Tensor, "B T D"],
        a: Float[Tensor, "D N"],
        b: Float[Tensor, "B T N"],
        c: Float[Tensor, "B T N"],
        memory: Float[Tensor, "B D N"],
        starts: Bool[Tensor, "B T"] | None,
        size: int,
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
        chunks = _cut(u, delta, a, b, c, starts, size)
        rows = u.shape[0]
        states = u.new_zeros(len(chunks.b), *chunks.log2_decay.shape)
        for part, block in chunks.blocks():
            state = states[part]
            decay = torch.empty_like(state)
            for frame in range(size):
                state.mul_(block.decay(frame, decay))
                block.write(frame, state)
        final = _pass_on(states.unflatten(0, (rows, -1)), chunks.whole_decay(), memory.transpose(1, 2))
        out = torch.empty_like(chunks.written)
        for part, block in chunks.blocks():
            state = states[part].clone()
            decay = torch.empty_like(state)
            for frame in range(size):
                state.mul_(block.decay(frame, decay))
                block.write(frame, state)
                out[part, frame] = (block.c[:, frame, None] @ state)[:, 0]
        context.save_for_backward(u, delta, a, b, c, starts, states)
        context.size = size
        return out.view_as(u), final.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, a, b, c, starts, states = context.saved_tensors
        grad_y, grad_final = gradients
        size, rows = context.size, u.shape[0]
        chunks = _cut(u, delta, a, b, c, starts, size)
        grad_out = grad_y.reshape_as(chunks.written)

        reaching = torch.zeros_like(states)
        for part, block in chunks.blocks():
            gradient = reaching[part]
            decay = torch.empty_like(gradient)
            for frame in reversed(range(size)):
                gradient.addcmul_(grad_out[part, frame, None], block.c[:, frame, :, None])
                gradient.mul_(block.decay(frame, decay))
        backwards = reaching.unflatten(0, (rows, -1)).flip(1)
        whole = chunks.whole_decay().unflatten(0, (rows, -1)).flip(1).flatten(0, 1)
        grad_memory = _pass_on(backwards, whole, grad_final.transpose(1, 2))
        reaching = backwards.flip(1).flatten(0, 1)

        grad_a = torch.zeros_like(chunks.log2_decay)
        rate = a.t().contiguous()
        grad_written, grad_delta = torch.empty_like(grad_out), torch.empty_like(grad_out)
        grad_b, grad_c = torch.empty_like(chunks.b), torch.empty_like(chunks.c)
        for part, block in chunks.blocks():
            gradient = reaching[part]
            path = gradient.new_empty(size + 1, *gradient.shape)
            decays = gradient.new_empty(size, *gradient.shape)
            path[0] = states[part]
            for frame in range(size):
                torch.mul(path[frame], block.decay(frame, decays[frame]), out=path[frame + 1])
                block.write(frame, path[frame + 1])
            grad_rate = torch.zeros_like(gradient)
            for frame in reversed(range(size)):
                gradient.addcmul_(grad_out[part, frame, None], block.c[:, frame, :, None])
                grad_c[part, frame] = (path[frame + 1] @ grad_out[part, frame, :, None])[..., 0]
                grad_b[part, frame] = (gradient @ block.written[:, frame, :, None])[..., 0]
                grad_written[part, frame] = (block.b[:, frame, None] @ gradient)[:, 0]
                gradient.mul_(decays[frame])
                through = torch.mul(gradient, path[frame], out=path[frame + 1])
                grad_rate.addcmul_(through, block.delta[:, frame, None])
                grad_delta[part, frame] = through.mul_(rate).sum(1)
            grad_a += grad_rate.sum(0)
        grad_u = (grad_written * chunks.delta).view_as(u)
        grad_delta = grad_delta.view_as(u).addcmul_(grad_written.view_as(u), u)
        return (
            grad_u,
            grad_delta,
            grad_a.t(),
            grad_b.view_as(b),
            grad_c.view_as(c),
            grad_memory.transpose(1, 2),
            None,
            None,
        )


def _cut(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor | None, size: int
) -> _Chunks:
    return _Chunks(
        (delta * u).reshape(-1, size, u.shape[-1]),
        delta.reshape(-1, size, u.shape[-1]),
        a.t().contiguous() / math.log(2),
        b.reshape(-1, size, b.shape[-1]),
        c.reshape(-1, size, b.shape[-1]),
        None if starts is None else starts.reshape(-1, size),
    )


def _pass_on(
    states: Float[Tensor, "B chunks N D"],
    whole_decay: Float[Tensor, "K N D"],
    first: Float[Tensor, "B N D"],
) -> Float[Tensor, "B N D"]:
    """Scan over chunks, in place: from each chunk's final state without input to the state that reaches it; returns the
    state after the last."""
    carried = first
    for state, decay in zip(states.unbind(1), whole_decay.view_as(states).unbind(1), strict=True):
        following = torch.addcmul(state, carried, decay)
        state.copy_(carried)
        carried = following
    return carried
