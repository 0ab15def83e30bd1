"""What the steps between two lines of metrics come to. Nothing is brought back from the GPU before it is looked at."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.errors import DataError

UNJUDGED = ("loss", "total", "loudness", "intelligibility", "commitment", "grad_norm")
"""What is summed up at every step; ``loss`` is the mel distance, in both splits."""
PARTS = (*UNJUDGED, "adversarial", "features", "discriminators")
"""And with discriminators."""


class Tally:
    """Sums over steps, and the first step that was not finite, on ``device``."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums = torch.zeros(len(PARTS), device=device)
        self.bad = torch.full((1,), -1.0, dtype=torch.float64, device=device)
        self.steps = 0

    def add(self, step: int, parts: Mapping[str, Tensor], finite: Bool[Tensor, ""]) -> None:
        """Take in what a step's ``PARTS`` were; those that are missing count as 0."""
        zero = torch.zeros((), device=self.device)
        self.sums += torch.stack([parts.get(name, zero).detach().float() for name in PARTS])
        self.bad = torch.where(finite | (self.bad >= 0), self.bad, float(step))
        self.steps += 1

    def means(self, names: Iterable[str]) -> dict[str, float]:
        """Of these parts, since the tally began; none if there was no step. Waits for the GPU.

        Raises:
            DataError: a step's loss or gradient was not finite.
        """
        *sums, bad = torch.cat([self.sums, self.bad]).tolist()
        if bad >= 0:
            raise DataError(
                f"train: step {int(bad)}: the loss or a gradient is not finite; the last checkpoint is from before "
                "that; put it into a run of another name with a lower train.lr, or begin one"
            )
        return {name: sums[PARTS.index(name)] / self.steps for name in names} if self.steps else {}


def codebook_use(codes: Int[Tensor, "B T Q"], sizes: Sequence[int]) -> list[float]:
    """How evenly each codebook's entries are used in a batch: the perplexity of its codes over its size."""
    used = []
    for codebook, size in enumerate(sizes):
        share = torch.bincount(codes[..., codebook].flatten(), minlength=size).double()
        share = share / share.sum().clamp_min(1)
        entropy = -(share * share.clamp_min(1e-12).log()).sum()
        used.append(round(math.exp(float(entropy)) / size, 6))
    return used
