"""Running means of the loss terms between two lines of metrics, without synchronization with the GPU."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

CODEC_TERMS = ("loss", "total", "loudness", "intelligibility", "commitment", "grad_norm")
"""Metrics of each step; ``loss`` is the mel distance, in both splits."""
TERMS = (*CODEC_TERMS, "adversarial", "features", "discriminators")
"""Metrics of each step with discriminators."""


class RunningMeans:
    """Sums of ``TERMS`` over finite steps, on ``device``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums = torch.zeros(len(TERMS), device=device)
        self.finite = torch.zeros(1, device=device)
        self.steps = 0
        """Number of steps, finite or not."""

    def add(self, terms: Mapping[str, Tensor], finite: Bool[Tensor, ""]) -> None:
        """Add the terms of one step; missing ones count as 0."""
        zero = torch.zeros((), device=self.device)
        values = torch.stack([terms.get(name, zero).detach().float() for name in TERMS])
        self.sums += torch.where(finite, values, 0.0)
        self.finite += finite
        self.steps += 1

    def means(self, names: Iterable[str]) -> dict[str, float]:
        """Means of the named terms; empty if no step was finite. Waits for the GPU."""
        *sums, finite = torch.cat([self.sums, self.finite]).tolist()
        return {name: sums[TERMS.index(name)] / finite for name in names} if finite else {}


def codebook_use(codes: Int[Tensor, "B T Q"], sizes: Sequence[int]) -> list[float]:
    """Perplexity of the codes in a batch relative to the codebook size, per codebook."""
    use = []
    for codebook, size in enumerate(sizes):
        share = torch.bincount(codes[..., codebook].flatten(), minlength=size).double()
        share = share / share.sum().clamp_min(1)
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        use.append(round(math.exp(float(entropy)) / size, 6))
    return use
