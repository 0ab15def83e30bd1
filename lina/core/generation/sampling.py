"""From logits to tokens: temperature, top-k and top-p per codebook, as a pure function of tensors.

Every row brings its own rules and one uniform number per codebook (``lina.core.generation.counter_random``), so its
tokens do not depend on its neighbors in the batch.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

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
    uniform: Float[Tensor, "S Q"] | None,
    widest: int | None = None,
    nucleus: bool = True,
) -> Int[Tensor, "S Q"]:
    """Draw one token per row and codebook among the allowed ones, which may differ between rows.

    ``uniform``: a number in [0, 1) for each; None takes the likeliest everywhere, for rules that are all greedy.
    ``widest``: the largest of all ``top_k``, where none leaves everything in; fewer tokens are then sorted.
    ``nucleus``: False if no row has a ``top_p``.
    """
    if uniform is not None and logits.shape[-1] <= MOST_TOKENS and runs_triton(logits.device):
        from lina.core.generation.sampling_triton import sample as fused

        return fused(logits, allowed.expand_as(logits), *rules, uniform, nucleus)
    logits = logits.masked_fill(~allowed, -torch.inf)
    likeliest = logits.argmax(-1)
    if uniform is None:
        return likeliest
    temperature, top_k, top_p = (rule[..., None] for rule in rules)
    if widest is not None and widest < logits.shape[-1]:
        ordered, order = logits.topk(widest, dim=-1)  # a sixth of the time of sorting all
    else:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = (ordered.double() / temperature).softmax(-1)
    probabilities = probabilities * (torch.arange(ordered.shape[-1], device=logits.device) < top_k)
    if nucleus:
        above = probabilities.cumsum(-1)
        total = above[..., -1:]
        probabilities = probabilities * (above - probabilities < top_p * total)
    # In the order of the tokens, which a kernel that does not sort has as well.
    order, place = order.sort(-1)
    cumulative = probabilities.gather(-1, place).cumsum(-1)
    threshold = uniform[..., None] * cumulative[..., -1:]
    chosen = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=ordered.shape[-1] - 1)
    drawn = order.gather(-1, chosen).squeeze(-1)
    return torch.where(rules.temperature > GREEDY, drawn, likeliest)
