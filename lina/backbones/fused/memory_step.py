"""One frame of a matrix memory in place, for all backbones that have one: the algorithm, and where it can run.

    read = remove^T S        S <- diag(exp(log_decay)) S + k v^T + restore read^T        o = scale * q^T S

or, with a bonus (RWKV-6), o = scale * q^T S before the frame is written, plus (q * bonus)^T k v. Without ``remove`` it
is gated linear attention, retention or Mamba-2; with it a delta rule: RWKV-7 as it is, and the gated delta rule with
remove = -exp(log_decay) * key, restore = beta * key and k = beta * key. Sums are in float32 whatever the memory is
stored in.

Shapes: B rows, H heads, G groups of heads that share q and k, K key channels, V value channels, D = K or 1.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.model.in_place import InPlaceStep
from lina.core.ops.dispatch import runs_triton
from lina.core.state import S, State


def memory_step(
    q: Float[Tensor, "B G K"],
    k: Float[Tensor, "B G K"],
    v: Float[Tensor, "B H V"],
    log_decay: Float[Tensor, "B H D"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    remove: Float[Tensor, "B H K"] | None = None,
    restore: Float[Tensor, "B H K"] | None = None,
    bonus: Float[Tensor, "H K"] | None = None,
) -> Float[Tensor, "B H V"]:
    """The reading o in float32, and ``memory`` advanced in place. On a GPU one kernel, elsewhere PyTorch."""
    if memory.device.type == "cuda":
        from lina.backbones.fused.memory_step_triton import memory_step as fused

        return fused(q, k, v, log_decay, memory, scale, remove, restore, bonus)
    state = memory.float()
    each = memory.shape[1] // q.shape[1]
    q, k = (tensor.float().repeat_interleave(each, 1) for tensor in (q, k))
    v = v.float()
    out = None
    if bonus is not None:
        out = scale * (q[..., None, :] @ state).squeeze(-2) + (q * bonus * k).sum(-1, keepdim=True) * v
    after = state * log_decay.float().exp()[..., None] + k[..., None] * v[..., None, :]
    if remove is not None and restore is not None:
        after = after + restore.float()[..., None] * (remove.float()[..., None, :] @ state)
    memory.copy_(after)
    return scale * (q[..., None, :] @ after).squeeze(-2) if out is None else out


def packed_memory_step(
    packed: Float[Tensor, "B N"],
    offsets: list[int],
    log_decay: Float[Tensor, "B H D"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    log_sigmoid: float = 0.0,
) -> Float[Tensor, "B H V"]:
    """The same for q, k and v of all heads that lie in each row of ``packed``, from ``offsets`` on.

    ``log_sigmoid``: unless 0, ``log_decay`` has gates, and the log-decay is ``log_sigmoid * logsigmoid(gate)``.
    """
    if memory.device.type == "cuda":
        from lina.backbones.fused.memory_step_triton import packed_memory_step as fused

        return fused(packed, offsets, log_decay, memory, scale, log_sigmoid)
    if log_sigmoid:
        log_decay = log_sigmoid * F.logsigmoid(log_decay.float())
    _, heads, keys, values = memory.shape
    q, k, v = (
        packed[:, offset : offset + heads * width].unflatten(-1, (heads, width))
        for offset, width in zip(offsets, (keys, keys, values), strict=True)
    )
    return memory_step(q, k, v, log_decay, memory, scale)


def has_kernel() -> bool:
    """The kernel can run on this machine, which has a CUDA device and Triton, and may."""
    return torch.cuda.is_available() and runs_triton(torch.device("cuda"))


def store_memory(state: S, dtype: torch.dtype) -> S:
    """A state, a named tuple with a field ``memory``, with that in ``dtype``."""
    return state._replace(memory=state.memory.to(dtype))  # type: ignore[attr-defined, no-any-return]


class MemoryStep(InPlaceStep):
    """The fused step of a mixer, or layer, that has ``step_in_place(x, state)`` and a state with a field ``memory``."""

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer: Any = mixer

    def forward(self, x: Float[Tensor, "B D"], state: State) -> Float[Tensor, "B D"]:
        y: Tensor = self.mixer.step_in_place(x, state)
        return y

    def stored(self, state: S, dtype: torch.dtype) -> S:
        return store_memory(state, dtype)
