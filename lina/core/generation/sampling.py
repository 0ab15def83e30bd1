"""From logits to tokens: temperature, top-k and top-p per codebook, as a pure function of tensors.

Every row brings its own rules and the key of a draw per codebook (``lina.core.generation.counter_random``), so its
tokens do not depend on its neighbors in the batch. A draw is the token with the largest sum of log-probability and
Gumbel noise (Gumbel 1954; Maddison, Tarlow & Minka 2014, arXiv 1411.0030). Logits that differ by rounding then give
another token only where the two largest sums are as close as that; a draw by cumulative sums changes where any of the
hundreds of sums crosses its threshold, some ten times as often.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.generation.counter_random import gumbel
from lina.core.generation.sampling_rules import SamplingRules
from lina.core.generation.settings import GREEDY, Sampling
from lina.core.ops.dispatch import runs_triton

MOST_TOKENS = 8_192
"""Up to so many tokens, marks included, one program of the kernel can hold them."""


def sampling_rules(sampling: Sampling, codebooks: int, device: torch.device | str = "cpu") -> SamplingRules:
    """The rules of one row, [1, Q], on the device of the logits.

    Raises:
        LinaError: as ``Sampling.spread``.
    """
    temperature, top_k, top_p = sampling.spread(codebooks)
    return SamplingRules(
        torch.tensor([temperature], dtype=torch.float64, device=device),
        torch.tensor([top_k], dtype=torch.int64, device=device),
        torch.tensor([top_p], dtype=torch.float64, device=device),
    )


def sample(
    logits: Float[Tensor, "S Q V"],
    allowed: Bool[Tensor, "*#S Q V"],
    rules: SamplingRules,
    keys: Int[Tensor, "S Q"] | None,
    widest: int | None = None,
    nucleus: bool = True,
) -> Int[Tensor, "S Q"]:
    """Draw one token per row and codebook among the allowed ones, which may differ between rows.

    ``keys``: of the draws; None takes the likeliest everywhere, for rules that are all greedy.
    ``widest``: the largest of all ``top_k``, where none leaves everything in; fewer tokens are then sorted.
    ``nucleus``: False if no row has a ``top_p``.
    """
    if keys is not None and logits.shape[-1] <= MOST_TOKENS and runs_triton(logits.device):
        from lina.core.generation.sampling_triton import sample as fused

        return fused(logits, allowed.expand_as(logits), *rules, keys, nucleus)
    logits = logits.masked_fill(~allowed, -torch.inf)
    likeliest = logits.argmax(-1)
    if keys is None:
        return likeliest
    temperature, top_k, top_p = (rule[..., None] for rule in rules)
    if widest is not None and widest < logits.shape[-1]:
        ordered, order = logits.topk(widest, dim=-1)  # a sixth of the time of sorting all
    else:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    scores = ordered.double() / temperature
    kept = torch.arange(ordered.shape[-1], device=logits.device) < top_k
    if nucleus:
        probabilities = scores.softmax(-1) * kept
        above = probabilities.cumsum(-1)
        kept = kept & (above - probabilities < top_p * above[..., -1:])
    scores = (scores + gumbel(keys, order)).masked_fill(~kept, -torch.inf)
    drawn = order.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)
    return torch.where(rules.temperature > GREEDY, drawn, likeliest)
