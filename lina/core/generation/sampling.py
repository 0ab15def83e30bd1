"""From logits to tokens: temperature, top-k and top-p per codebook, as a pure function of tensors.

Every row brings its own rules and one uniform number per codebook (``lina.core.generation.counter_random``), so its
tokens do not depend on its neighbors in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.sampling_rules import ALL, GREEDY, SamplingRules
from lina.core.ops.dispatch import runs_triton

MOST_TOKENS = 8_192
"""Up to so many tokens, marks included, one program of the kernel can hold them."""


@dataclass(frozen=True)
class Sampling:
    """Rules for choosing tokens. Each value is one for all codebooks or a sequence with one for each."""

    temperature: float | Sequence[float] = 0.0
    """0 takes the likeliest token."""
    top_k: int | Sequence[int | None] | None = None
    """Only the k likeliest."""
    top_p: float | Sequence[float | None] | None = None
    """Only the fewest likeliest that hold this much probability (Holtzman et al. 2020, arXiv 1904.09751)."""

    @property
    def is_greedy(self) -> bool:
        """All temperatures are 0: nothing is drawn."""
        return not any(self.temperature) if isinstance(self.temperature, Sequence) else not self.temperature

    def widest(self, codebooks: int) -> int | None:
        """The largest top_k; None if a codebook leaves everything in."""
        widest = int(max(_spread("top_k", self.top_k, codebooks, ALL, 1, ALL)))
        return None if widest == ALL else widest

    @property
    def has_top_p(self) -> bool:
        """Some codebook leaves unlikely tokens out by their probability."""
        values = self.top_p if isinstance(self.top_p, Sequence) else [self.top_p]
        return any(value not in (None, 1.0) for value in values)

    def rules(self, codebooks: int, device: torch.device | str = "cpu") -> SamplingRules:
        """The rules of one row, [1, Q], on the device of the logits.

        Raises:
            LinaError: a list of another length, or a value that is no number or out of range.
        """
        temperature = _spread("temperature", self.temperature, codebooks, 0.0, 0.0, 100.0)
        top_k = _spread("top_k", self.top_k, codebooks, ALL, 1, ALL)
        top_p = _spread("top_p", self.top_p, codebooks, 1.0, 1e-6, 1.0)
        return SamplingRules(
            torch.tensor([temperature], dtype=torch.float64, device=device).clamp(min=GREEDY),
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


def _spread(
    name: str, value: object, codebooks: int, absent: float, least: float, most: float
) -> list[int | float]:
    """A value for each codebook; None becomes ``absent``. Bounds that are integers want integers."""
    many = isinstance(value, Sequence) and not isinstance(value, str)
    values: list[Any] = list(cast(Sequence[Any], value)) if many else [value] * codebooks
    if len(values) != codebooks:
        raise LinaError(f"sampling: {name} has {len(values)} values, but the codec has {codebooks} codebooks")
    kind: Any = int if isinstance(least, int) else (int, float)
    for item in values:
        if item is not None and not (isinstance(item, kind) and least <= item <= most):
            expected = "an integer" if kind is int else "a number"
            raise LinaError(f"sampling: {name} = {item!r} is not {expected} in {least} .. {most}")
    return [absent if item is None else item for item in values]
