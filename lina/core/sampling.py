"""From logits to tokens: temperature, top-k and top-p for each codebook, one seeded generator a row.

A row draws one uniform number a codebook and step, so what it says does not depend on its neighbours in the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.errors import LinaError


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens. Each value is one for all codebooks or a sequence with one for each."""

    temperature: float | Sequence[float] = 0.0
    """0 takes the likeliest token."""
    top_k: int | Sequence[int | None] | None = None
    """Only the k likeliest."""
    top_p: float | Sequence[float | None] | None = None
    """Only the fewest likeliest that hold this much probability (Holtzman et al. 2020, arXiv 1904.09751)."""

    def per_codebook(self, codebooks: int) -> "CodebookSampling":
        """One value a codebook, on the CPU.

        Raises:
            LinaError: a list of another length, or a value out of range.
        """
        temperature = _spread("temperature", self.temperature, codebooks, 0.0)
        top_k = _spread("top_k", self.top_k, codebooks, 0)
        top_p = _spread("top_p", self.top_p, codebooks, 1.0)
        for name, values, least, most in (
            ("temperature", temperature, 0.0, 100.0),
            ("top_k", top_k, 0, 2**31),
            ("top_p", top_p, 1e-6, 1.0),
        ):
            for value in values:
                if not least <= value <= most:
                    raise LinaError(f"sampling: {name} = {value} is not in {least} .. {most}")
        return CodebookSampling(torch.tensor(temperature), torch.tensor(top_k), torch.tensor(top_p))


@dataclass(frozen=True)
class CodebookSampling:
    """``Sampling`` spread over Q codebooks; top_k 0 and top_p 1 leave everything in."""

    temperature: Float[Tensor, "Q"]
    top_k: Int[Tensor, "Q"]
    top_p: Float[Tensor, "Q"]

    @property
    def greedy(self) -> bool:
        return not bool(self.temperature.any())


def sample(
    logits: Float[Tensor, "B Q V"],
    allowed: Bool[Tensor, "Q V"],
    sampling: CodebookSampling,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, "B Q"]:
    """Draw one token a row and codebook among the allowed ones."""
    logits = logits.masked_fill(~allowed, -torch.inf)
    likeliest = logits.argmax(-1)
    if sampling.greedy:
        return likeliest
    uniform = torch.stack(
        [torch.rand(logits.shape[1], generator=row, dtype=torch.float64) for row in generators]
    )
    temperature, top_k, top_p = (
        t.to(logits.device) for t in (sampling.temperature, sampling.top_k, sampling.top_p)
    )
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = (ordered.double() / temperature.clamp(min=1e-6)[:, None]).softmax(-1)
    rank = torch.arange(logits.shape[-1], device=logits.device)
    kept = (rank < top_k[:, None]) | (top_k[:, None] == 0)
    probabilities = probabilities * kept
    probabilities = probabilities / probabilities.sum(-1, keepdim=True)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities * (before < top_p[:, None])
    cumulative = probabilities.cumsum(-1)
    threshold = uniform.to(logits.device)[..., None] * cumulative[..., -1:]
    chosen = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    drawn = order.gather(-1, chosen).squeeze(-1)
    return torch.where(temperature > 0, drawn, likeliest)


def row_generators(seed: int, rows: int) -> list[torch.Generator]:
    """A generator for each row; row r of any batch draws the same numbers for the same seed."""
    return [torch.Generator().manual_seed((seed * 1_000_003 + row) % 2**63) for row in range(rows)]


def _spread(name: str, value: object, codebooks: int, absent: float) -> list[float]:
    values: list[Any] = list(value) if isinstance(value, Sequence) else [value] * codebooks
    if len(values) != codebooks:
        raise LinaError(f"sampling: {name} has {len(values)} values, but the codec has {codebooks} codebooks")
    return [absent if item is None else item for item in values]
