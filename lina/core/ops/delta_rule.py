"""The delta rule: reference forms, parallel and stepwise, of linear attention that corrects its memory.

The general transition is diagonal plus low rank (Peng et al. 2025, "RWKV-7 Goose", arXiv 2503.14456, eq. 16):

    S_t = diag(exp(w_t)) S_{t-1} + b_t (a_t^T S_{t-1}) + k_t v_t^T        o_t = scale * S_t^T q_t

The gated delta rule (Yang et al. 2024, arXiv 2412.06464, eq. 10; with a decay per channel Kimi Team 2025,
arXiv 2510.26692, eq. 1) is the case a = exp(w) k, b = -beta k, written with values beta v: the memory of k moves by
beta towards v.

In a chunk, the reads of each frame depend on the corrections of the frames before it; that is a unit triangular
system, solved for all chunks at once (Yang et al. 2024, arXiv 2406.06484, section 3). From chunk to chunk there remains
one affine map of the memory. The operators are stable where |a| and |b| are at most 1.

Shapes: B rows, T frames, H heads, K key channels, V value channels per head, N chunks of C frames; decays are G = K
channels, or G = 1 for all.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lina.core.ops.chunk_scores import after_sums, decayed_scores

CHUNK = 32


def delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Parallel form. ``log_decay`` <= 0; -inf (with a = 0 there) forgets all before that frame, as ``starts`` do.

    Computes in the dtype of its arguments, which must agree. Cost: O(T (C K + C V + K V)) per head.
    """
    if starts is not None:
        a = a.masked_fill(starts[..., None, None], 0.0)
        log_decay = log_decay.masked_fill(starts[..., None, None], -torch.inf)
    frames = q.shape[1]
    q, k, v, a, b, log_decay = _in_chunks(q, k, v, a, b, log_decay)
    decays = _decays(log_decay)
    # a_t reads the memory of t - 1: as a query one frame earlier, it has the decays up to there.
    a_before = F.pad(a[..., 1:, :], (0, 0, 0, 1))
    scores = decayed_scores(torch.stack([q, a_before], -2), torch.stack([k, b], -2), log_decay)
    q_k, q_b = scores[:, :, :, 0].unbind(3)
    a_k, a_b = F.pad(scores[:, :, :, 1, :, :-1], (0, 0, 1, 0)).unbind(3)

    a_start = a * F.pad(decays.from_start[..., :-1, :], (0, 0, 1, 0), value=1.0)
    values, reads = _solve(-a_b, a_k @ v, a_start)
    memory_map = _MemoryMap(
        decays.whole,
        (b * decays.to_end).mT,
        reads,
        (k * decays.to_end).mT @ v + (b * decays.to_end).mT @ values,
    )
    out_fixed, out_reads = q_k @ v + q_b @ values, q * decays.from_start + q_b @ reads
    return _through_chunks(memory_map, out_fixed, out_reads, memory, scale, frames)


def gated_delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    beta: Float[Tensor, "B T H"],
    log_decay: Float[Tensor, "B T H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``delta_rule``, with a = exp(log_decay) k, b = -beta k and values beta v, at about half its cost."""
    if starts is not None:
        log_decay = log_decay.masked_fill(starts[..., None, None], -torch.inf)
    frames = q.shape[1]
    q, k, v, beta, log_decay = _in_chunks(q, k, v, beta[..., None], log_decay)
    decays = _decays(log_decay)
    written = beta * k
    q_k, k_k = decayed_scores(torch.stack([q, k], -2), written[..., None, :], log_decay).squeeze(4).unbind(3)

    values, reads = _solve(k_k.tril(-1), v, -k * decays.from_start)
    kept = (written * decays.to_end).mT
    memory_map = _MemoryMap(decays.whole, kept, reads, kept @ values)
    return _through_chunks(
        memory_map, q_k @ values, q * decays.from_start + q_k @ reads, memory, scale, frames
    )


def delta_rule_step(
    q: Float[Tensor, "B H K"],
    k: Float[Tensor, "B H K"],
    v: Float[Tensor, "B H V"],
    a: Float[Tensor, "B H K"],
    b: Float[Tensor, "B H K"],
    log_decay: Float[Tensor, "B H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B H V"], Float[Tensor, "B H K V"]]:
    """Step form of ``delta_rule``."""
    read = a[..., None, :] @ memory
    memory = memory * log_decay.exp()[..., None] + b[..., None] * read + k[..., None] * v[..., None, :]
    return scale * (q[..., None, :] @ memory).squeeze(-2), memory


def gated_delta_rule_step(
    q: Float[Tensor, "B H K"],
    k: Float[Tensor, "B H K"],
    v: Float[Tensor, "B H V"],
    beta: Float[Tensor, "B H"],
    log_decay: Float[Tensor, "B H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B H V"], Float[Tensor, "B H K V"]]:
    """Step form of ``gated_delta_rule``."""
    memory = memory * log_decay.exp()[..., None]
    missing = v[..., None, :] - k[..., None, :] @ memory
    memory = torch.addcmul(memory, (beta[..., None] * k)[..., None], missing)
    return scale * (q[..., None, :] @ memory).squeeze(-2), memory


class _Decays(NamedTuple):
    """Decays in a chunk: from its start through a frame, from after a frame to its end, and over all of it."""

    from_start: Float[Tensor, "B H N C G"]
    to_end: Float[Tensor, "B H N C G"]
    whole: Float[Tensor, "B H N G"]


class _MemoryMap(NamedTuple):
    """Affine map of a chunk, from the memory S before it: forget * S + correct (read S) + write."""

    forget: Float[Tensor, "B H N G"]
    correct: Float[Tensor, "B H N K C"]
    read: Float[Tensor, "B H N C K"]
    write: Float[Tensor, "B H N K V"]


def _in_chunks(*tensors: Float[Tensor, "B T H _"]) -> list[Float[Tensor, "B H N C _"]]:
    """Pad and cut into chunks. Padding writes nothing (k = b = 0 or beta = 0) and forgets nothing (log_decay = 0)."""
    frames = tensors[0].shape[1]
    size = min(CHUNK, 1 << (frames - 1).bit_length())
    return [
        F.pad(tensor, (0, 0, 0, 0, 0, -frames % size)).unflatten(1, (-1, size)).permute(0, 3, 1, 2, 4)
        for tensor in tensors
    ]


def _decays(log_decay: Float[Tensor, "B H N C G"]) -> _Decays:
    from_start = log_decay.cumsum(-2).exp()
    return _Decays(from_start, after_sums(log_decay).exp(), from_start[..., -1, :])


def _solve(
    below: Float[Tensor, "B H N C C"], *right: Float[Tensor, "B H N C _"]
) -> tuple[Float[Tensor, "B H N C _"], ...]:
    """Solve (1 + below) x = right for x; only entries below the diagonal are read."""
    solved = torch.linalg.solve_triangular(below, torch.cat(right, -1), upper=False, unitriangular=True)
    parts: tuple[Tensor, ...] = solved.split([side.shape[-1] for side in right], -1)
    return parts


def _through_chunks(
    maps: _MemoryMap,
    out_fixed: Float[Tensor, "B H N C V"],
    out_reads: Float[Tensor, "B H N C K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    frames: int,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Scan over chunks: the memory before each, then the outputs of its frames."""
    memories = []
    for forget, correct, read, write in zip(*(part.unbind(2) for part in maps), strict=True):
        memories.append(memory)
        memory = memory * forget[..., None] + correct @ (read @ memory) + write
    out = scale * (out_fixed + out_reads @ torch.stack(memories, dim=2))
    return out.permute(0, 2, 3, 1, 4).flatten(1, 2)[:, :frames], memory
