"""What the steps between two lines of metrics come to. Nothing is brought back from the GPU before it is looked at."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

UNJUDGED = ("loss", "total", "loudness", "intelligibility", "commitment", "grad_norm")
"""What is summed up at every step; ``loss`` is the mel distance, in both splits."""
PARTS = (*UNJUDGED, "adversarial", "features", "discriminators")
"""And with discriminators."""


class Tally:
    """Sums over the steps that were finite, on ``device``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums = torch.zeros(len(PARTS), device=device)
        self.finite = torch.zeros(1, device=device)
        self.steps = 0
        """Finite or not."""

    def add(self, parts: Mapping[str, Tensor], finite: Bool[Tensor, ""]) -> None:
        """Take in what a step's ``PARTS`` were; those that are missing count as 0."""
        zero = torch.zeros((), device=self.device)
        values = torch.stack([parts.get(name, zero).detach().float() for name in PARTS])
        self.sums += torch.where(finite, values, 0.0)
        self.finite += finite
        self.steps += 1

    def means(self, names: Iterable[str]) -> dict[str, float]:
        """Of these parts, since the tally began; none if no step was finite. Waits for the GPU."""
        *sums, finite = torch.cat([self.sums, self.finite]).tolist()
        return {name: sums[PARTS.index(name)] / finite for name in names} if finite else {}


def codebook_use(codes: Int[Tensor, "B T Q"], sizes: Sequence[int]) -> list[float]:
    """How evenly each codebook's entries are used in a batch: the perplexity of its codes over its size."""
    used = []
    for codebook, size in enumerate(sizes):
        share = torch.bincount(codes[..., codebook].flatten(), minlength=size).double()
        share = share / share.sum().clamp_min(1)
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        used.append(round(math.exp(float(entropy)) / size, 6))
    return used
