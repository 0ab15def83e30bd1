"""Gated linear attention, with a decay per key channel: reference forms, parallel and stepwise.

    S_t = diag(exp(log_decay_t)) S_{t-1} + k_t v_t^T        o_t = scale * S_t^T q_t

(Yang et al. 2023, "Gated Linear Attention Transformers with Hardware-Efficient Training", arXiv 2312.06635, eq. 4,
computed in chunks as in section 4.) Decay products inside a chunk are products of decays, or exponentials of sums
over the very segment: never exp(+cumsum), which overflows, and never a difference of cumulative sums, which cancels.

Shapes: B rows, T frames, H heads, K key channels, V value channels per head, N chunks of C frames.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

CHUNK = 16


def gated_linear_attention(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Parallel form. ``log_decay`` <= 0; -inf forgets all before that frame, as ``starts`` do.

    Computes in the dtype of its arguments, which must agree. Cost: O(T (C K + K V)) per head.
    """
    if starts is not None:
        log_decay = log_decay.masked_fill(starts[..., None, None], -torch.inf)
    frames = q.shape[1]
    padding = -frames % CHUNK
    if padding:  # padding writes nothing (k = 0) and forgets nothing (log_decay = 0)
        q, k, v, log_decay = (F.pad(tensor, (0, 0, 0, 0, 0, padding)) for tensor in (q, k, v, log_decay))
    q, k, v, log_decay = (_chunks(tensor) for tensor in (q, k, v, log_decay))

    scores: Tensor = _IntraChunkScores.apply(q, k, log_decay)  # type: ignore[no-untyped-call]
    from_start = log_decay.cumsum(-2).exp()
    to_end = F.pad(log_decay.flip(-2)[..., :-1, :].cumsum(-2).flip(-2), (0, 0, 0, 1)).exp()
    written = (k * to_end).transpose(-1, -2) @ v
    forgotten = from_start[..., -1, :, None]

    memories = []
    for forget, write in zip(forgotten.unbind(2), written.unbind(2), strict=True):
        memories.append(memory)
        memory = memory * forget + write
    before = torch.stack(memories, dim=2)

    out = scale * (scores @ v + (q * from_start) @ before)
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :frames], memory


def gated_linear_attention_step(
    q: Float[Tensor, "B H K"],
    k: Float[Tensor, "B H K"],
    v: Float[Tensor, "B H V"],
    log_decay: Float[Tensor, "B H K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B H V"], Float[Tensor, "B H K V"]]:
    """Step form: one frame."""
    memory = torch.addcmul(memory * log_decay.exp()[..., None], k[..., None], v[..., None, :])
    return scale * (q[..., None, :] @ memory).squeeze(-2), memory


def _chunks(x: Float[Tensor, "B T H D"]) -> Float[Tensor, "B H N C D"]:
    chunked: Tensor = x.unflatten(1, (-1, CHUNK)).permute(0, 3, 1, 2, 4)
    return chunked


class _IntraChunkScores(torch.autograd.Function):
    """scores[i, j] = sum_K q_i k_j prod_{j < t <= i} exp(log_decay_t) for j <= i in a chunk, else 0.

    The [C, C, K] tensor of decays is never materialized: one diagonal (a fixed i - j) at a time, in both directions.
    """

    @staticmethod
    def forward(
        context: Any,
        q: Float[Tensor, "B H N C K"],
        k: Float[Tensor, "B H N C K"],
        log_decay: Float[Tensor, "B H N C K"],
    ) -> Float[Tensor, "B H N C C"]:
        context.save_for_backward(q, k, log_decay)
        scores = q.new_zeros(*q.shape[:-1], CHUNK)
        decay = log_decay.exp()
        product = torch.ones_like(decay)
        for lag in range(CHUNK):
            if lag:
                product = product[..., 1:, :] * decay[..., 1 : CHUNK - lag + 1, :]
            diagonal = (q[..., lag:, :] * product * k[..., : CHUNK - lag, :]).sum(-1)
            scores.diagonal(-lag, -2, -1).copy_(diagonal)
        return scores

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, log_decay = context.saved_tensors
        (gradient,) = gradients
        grad_q, grad_k = torch.zeros_like(q), torch.zeros_like(k)
        decay = log_decay.exp()
        product = torch.ones_like(decay)
        for lag in range(1, CHUNK):
            product = product[..., 1:, :] * decay[..., 1 : CHUNK - lag + 1, :]
            weighted = product * gradient.diagonal(-lag, -2, -1)[..., None]
            grad_q[..., lag:, :] += weighted * k[..., : CHUNK - lag, :]
            grad_k[..., : CHUNK - lag, :] += weighted * q[..., lag:, :]
        # A decay at t acts on the pairs j < t <= i: the sum over q_i up to the end, less the sum over k_j up to there.
        # The pairs i = j have no decay; added before, they would cancel only up to rounding.
        grad_log_decay = (q * grad_q - k * grad_k).flip(-2).cumsum(-2).flip(-2)
        own = gradient.diagonal(0, -2, -1)[..., None]
        return grad_q + own * k, grad_k + own * q, grad_log_decay
