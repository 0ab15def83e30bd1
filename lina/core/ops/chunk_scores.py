"""Scores between the frames of a chunk, each pair weighted by the decays in between.

    scores[i, j] = sum_K q_i k_j exp(w_{j+1} + ... + w_i)   for j <= i, else 0

Every exponent is a sum over the very segment, or one over each of its two parts: never exp(+cumsum), which overflows,
and never a difference of cumulative sums, which cancels.

Shapes: B rows, H heads, N chunks of C frames (a power of two), K key channels, M sets of queries and L of keys.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def decayed_scores(
    queries: Float[Tensor, "B H N C M K"],
    keys: Float[Tensor, "B H N C L K"],
    log_decay: Float[Tensor, "B H N C G"],
) -> Float[Tensor, "B H N M L C C"]:
    """Scores of all M queries with all L keys; G is K (a decay per channel) or 1.

    ``log_decay`` <= 0; -inf separates that frame and all after it from all before.
    """
    if log_decay.shape[-1] == 1:
        decays = segment_sums(log_decay.squeeze(-1)).exp()
        products: Tensor = queries.transpose(3, 4).unsqueeze(4) @ keys.permute(0, 1, 2, 4, 5, 3).unsqueeze(3)
        return products * decays[:, :, :, None, None]
    scores: Tensor = _HalvedScores.apply(queries, keys, log_decay)  # type: ignore[no-untyped-call]
    return scores


def segment_sums(x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C C"]:
    """[i, j]: the sum of x over j + 1 .. i for j <= i, else -inf."""
    size = x.shape[-1]
    below = torch.ones(size, size, dtype=torch.bool, device=x.device).tril(-1)
    sums = torch.where(below, x[..., :, None], 0.0).cumsum(-2)
    return sums.masked_fill(below.T, -torch.inf)


def after_sums(x: Float[Tensor, "*B C K"]) -> Float[Tensor, "*B C K"]:
    """[j]: the sum of x over j + 1 .. C - 1."""
    return F.pad(x[..., 1:, :].flip(-2).cumsum(-2).flip(-2), (0, 0, 0, 1))


class _HalvedScores(torch.autograd.Function):
    """Recursive halving of a chunk. Between the halves, the decay of a pair is that of k up to the middle times that of
    q from there, so these scores are one matrix product; within the halves the same again, down to single frames.

    The [C, C, K] tensor of decays is never materialized; only the arguments are saved for the backward pass.
    """

    @staticmethod
    def forward(context: Any, queries: Tensor, keys: Tensor, log_decay: Tensor) -> Tensor:
        context.save_for_backward(queries, keys, log_decay)
        size, kinds = queries.shape[3], (queries.shape[4], keys.shape[4])
        scores = queries.new_zeros(*queries.shape[:3], *kinds, size, size)
        scores.diagonal(0, -2, -1).copy_(torch.einsum("bhncmk,bhnclk->bhnmlc", queries, keys))
        half = 1
        while half < size:
            from_middle, to_middle = _around_middles(log_decay, half)
            q, k = _later(queries, half) * from_middle, _earlier(keys, half) * to_middle
            pairs = q.flatten(-3, -2) @ k.flatten(-3, -2).mT
            pairs = pairs.unflatten(-1, (half, -1)).unflatten(-3, (half, -1))
            _between(scores, half).copy_(pairs.permute(0, 1, 2, 5, 7, 4, 6, 3))
            half *= 2
        return scores

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, log_decay = context.saved_tensors
        (gradient,) = gradients
        own = gradient.diagonal(0, -2, -1)
        grad_queries = torch.einsum("bhnmlc,bhnclk->bhncmk", own, keys)
        grad_keys = torch.einsum("bhnmlc,bhncmk->bhnclk", own, queries)
        grad_decay = torch.zeros_like(log_decay)
        half = 1
        while half < queries.shape[3]:
            from_middle, to_middle = _around_middles(log_decay, half)
            q, k = _later(queries, half) * from_middle, _earlier(keys, half) * to_middle
            pairs = _between(gradient, half).permute(0, 1, 2, 7, 5, 3, 6, 4).flatten(-2).flatten(-3, -2)
            grad_q = (pairs @ k.flatten(-3, -2)).view_as(q)
            grad_k = (pairs.mT @ q.flatten(-3, -2)).view_as(k)
            _later(grad_queries, half).add_(grad_q * from_middle)
            _earlier(grad_keys, half).add_(grad_k * to_middle)
            # A decay acts on the queries from its frame on, and on the keys before it.
            on_queries, on_keys = (q * grad_q).sum(-2), (k * grad_k).sum(-2)
            _later(grad_decay, half).add_(on_queries + after_sums(on_queries))
            _earlier(grad_decay, half)[..., 1:, :].add_(on_keys.cumsum(-2)[..., :-1, :])
            half *= 2
        return grad_queries, grad_keys, grad_decay


def _earlier(x: Tensor, half: int) -> Tensor:
    """Frames of the earlier halves: [B, H, N, C, ...] -> [B, H, N, C / 2 half, half, ...], a view."""
    part: Tensor = x.unflatten(3, (-1, 2, half)).select(4, 0)
    return part


def _later(x: Tensor, half: int) -> Tensor:
    part: Tensor = x.unflatten(3, (-1, 2, half)).select(4, 1)
    return part


def _between(scores: Tensor, half: int) -> Tensor:
    """Later halves with the earlier ones beside them: [..., C, C] -> [..., half, half, C / 2 half], a view."""
    quarters = scores.unflatten(-1, (-1, 2, half)).select(-2, 0).unflatten(-3, (-1, 2, half)).select(-4, 1)
    between: Tensor = quarters.diagonal(0, -4, -2)
    return between


def _around_middles(log_decay: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Decays from the middle up to and with each later frame, and from after each earlier frame to the middle."""
    from_middle = _later(log_decay, half).cumsum(-2).exp()
    to_middle = after_sums(_earlier(log_decay, half)).exp()
    return from_middle.unsqueeze(-2), to_middle.unsqueeze(-2)
