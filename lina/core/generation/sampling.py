"""From logits to tokens: temperature, top-k and top-p for each codebook, one seeded generator a row.

A row draws one uniform number a codebook and step, so what it says does not depend on its neighbours in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.errors import LinaError

SENTENCE_STRIDE = 0x9E3779B97F4A7C15
"""Odd and far from the stride of seeds, so that no two sentences of near seeds and rows share their numbers."""


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens. Each value is one for all codebooks or a sequence with one for each."""

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

    def per_codebook(self, codebooks: int, device: torch.device | str = "cpu") -> "CodebookSampling":
        """One value a codebook, on the device of the logits.

        Raises:
            LinaError: a list of another length, or a value that is no number or out of range.
        """
        temperature = _spread("temperature", self.temperature, codebooks, 0.0, 0.0, 100.0)
        top_k = _spread("top_k", self.top_k, codebooks, 0, 1, 2**31)
        top_p = _spread("top_p", self.top_p, codebooks, 1.0, 1e-6, 1.0)
        return CodebookSampling(
            torch.tensor(temperature, dtype=torch.float64, device=device),
            torch.tensor(top_k, device=device),
            torch.tensor(top_p, dtype=torch.float64, device=device),
            greedy=not any(temperature),
            widest=int(max(top_k)) if all(top_k) else None,
        )


@dataclass(frozen=True)
class CodebookSampling:
    """``Sampling`` spread over Q codebooks; top_k 0 and top_p 1 leave everything in."""

    temperature: Float[Tensor, "Q"]
    top_k: Int[Tensor, "Q"]
    top_p: Float[Tensor, "Q"]
    greedy: bool
    """All temperatures are 0."""
    widest: int | None
    """The largest top_k; None where a codebook leaves all in."""


def sample(
    logits: Float[Tensor, "B Q V"],
    allowed: Bool[Tensor, "*#B Q V"],
    sampling: CodebookSampling,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, "B Q"]:
    """Draw one token a row and codebook among the allowed ones, which may be others for each row."""
    logits = logits.masked_fill(~allowed, -torch.inf)
    likeliest = logits.argmax(-1)
    if sampling.greedy:
        return likeliest
    uniform = torch.stack(
        [torch.rand(logits.shape[1], generator=row, dtype=torch.float64) for row in generators]
    )
    temperature, top_k, top_p = sampling.temperature, sampling.top_k, sampling.top_p
    if sampling.widest is not None and sampling.widest < logits.shape[-1]:
        ordered, order = logits.topk(sampling.widest, dim=-1)  # a sixth of the time of sorting all
    else:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = (ordered.double() / temperature.clamp(min=1e-6)[:, None]).softmax(-1)
    rank = torch.arange(ordered.shape[-1], device=logits.device)
    kept = (rank < top_k[:, None]) | (top_k[:, None] == 0)
    probabilities = probabilities * kept
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities * (before < top_p[:, None])
    cumulative = probabilities.cumsum(-1)
    threshold = uniform.to(logits.device)[..., None] * cumulative[..., -1:]
    chosen = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=ordered.shape[-1] - 1)
    drawn = order.gather(-1, chosen).squeeze(-1)
    return torch.where(temperature > 0, drawn, likeliest)


def row_generators(seed: int, rows: int) -> list[torch.Generator]:
    """A generator for each row; row r of any batch draws the same numbers for the same seed."""
    return [row_generator(seed, row) for row in range(rows)]


def row_generator(seed: int, row: int, sentence: int = 0) -> torch.Generator:
    """The generator of one sentence of one row, a function of the three numbers alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + row + sentence * SENTENCE_STRIDE) % 2**63)


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
            wanted = "an integer" if kind is int else "a number"
            raise LinaError(f"sampling: {name} = {item!r} is not {wanted} in {least} .. {most}")
    return [absent if item is None else item for item in values]
