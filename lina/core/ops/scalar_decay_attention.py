"""Linear attention with one decay per head and frame: reference forms, parallel and stepwise.

    S_t = exp(log_decay_t) S_{t-1} + k_t v_t^T        o_t = scale * S_t^T q_t

This is retention (Sun et al. 2023, arXiv 2307.08621, eq. 6) and the state space dual of Mamba-2 (Dao & Gu 2024, arXiv
2405.21060, section 6, with q = C, k = B, v = x dt, log_decay = A dt). A scalar decay leaves matrix products in a chunk,
weighted by a [C, C] matrix of decays. These are exponentials of sums over the very segment: never exp(+cumsum), which
overflows, and never a difference of cumulative sums, which cancels.

Shapes: B rows, T frames, H heads, G groups of R = H / G heads that share queries and keys, K key channels, V value
channels per head, N chunks of C frames.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lina.core.ops.chunk_scores import segment_sums

CHUNK = 32


def scalar_decay_attention(
    q: Float[Tensor, "B T G K"],
    k: Float[Tensor, "B T G K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Parallel form. ``log_decay`` <= 0; -inf forgets all before that frame, as ``starts`` do.

    Head h reads group h // R. Computes in the dtype of its arguments, which must agree. Cost per head:
    O(T (C (K + V) + K V)).
    """
    if starts is not None:
        log_decay = log_decay.masked_fill(starts[..., None], -torch.inf)
    frames, groups = q.shape[1:3]
    size = min(CHUNK, frames)
    padding = -frames % size
    if padding:  # padding writes nothing (k = 0) and forgets nothing (log_decay = 0)
        q, k, v = (F.pad(tensor, (0, 0, 0, 0, 0, padding)) for tensor in (q, k, v))
        log_decay = F.pad(log_decay, (0, 0, 0, padding))
    q, k = (tensor.unflatten(1, (-1, size)).permute(0, 3, 1, 2, 4) for tensor in (q, k))  # [B, G, N, C, K]
    v = v.unflatten(2, (groups, -1)).unflatten(1, (-1, size)).permute(0, 3, 4, 1, 2, 5)  # [B, G, R, N, C, V]
    log_decay = log_decay.unflatten(2, (groups, -1)).unflatten(1, (-1, size)).permute(0, 3, 4, 1, 2)
    memory = memory.unflatten(1, (groups, -1))

    decay = segment_sums(log_decay).exp()
    from_start = log_decay.cumsum(-1).exp()
    scores = (scale * q) @ k.transpose(-1, -2)
    inside = (scores[:, :, None] * decay) @ v
    # Heads of a group lie side by side, so that their products with the shared k and q are one.
    written = k.transpose(-1, -2) @ _side_by_side(v * decay[..., -1, :, None])
    before, memory = _carry(memory, written, from_start[..., -1])
    outside = ((scale * q) @ before).unflatten(-1, (v.shape[2], -1)).permute(0, 1, 4, 2, 3, 5)
    out = inside + outside * from_start[..., None]
    return out.permute(0, 3, 4, 1, 2, 5).flatten(3, 4).flatten(1, 2)[:, :frames], memory


def scalar_decay_attention_step(
    q: Float[Tensor, "B G K"],
    k: Float[Tensor, "B G K"],
    v: Float[Tensor, "B H V"],
    log_decay: Float[Tensor, "B H"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B H V"], Float[Tensor, "B H K V"]]:
    """Step form: one frame."""
    each = v.shape[1] // q.shape[1]
    q, k = (tensor.repeat_interleave(each, dim=1) if each > 1 else tensor for tensor in (q, k))
    # In place on the product, which has no other reference: a third less time where the memory is large.
    memory = (memory * log_decay.exp()[..., None, None]).addcmul_(k[..., None], v[..., None, :])
    return scale * (q[..., None, :] @ memory).squeeze(-2), memory


def _carry(
    memory: Float[Tensor, "B G R K V"],
    written: Float[Tensor, "B G N K RV"],
    forgotten: Float[Tensor, "B G R N"],
) -> tuple[Float[Tensor, "B G N K RV"], Float[Tensor, "B H K V"]]:
    """Memory before each chunk, and after the last."""
    memory, memories = memory.transpose(2, 3), []
    heads = memory.shape[3:]
    for write, forget in zip(written.unbind(2), forgotten.unbind(-1), strict=True):
        memories.append(memory)
        memory = torch.addcmul(write.unflatten(-1, heads), memory, forget[:, :, None, :, None])
    return torch.stack(memories, dim=2).flatten(-2), memory.transpose(2, 3).flatten(1, 2)


def _side_by_side(x: Float[Tensor, "B G R N C V"]) -> Float[Tensor, "B G N C RV"]:
    return x.permute(0, 1, 3, 4, 2, 5).flatten(-2)
