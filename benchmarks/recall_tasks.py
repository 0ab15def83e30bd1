"""Associative recall and parity: sequences drawn at random, and their targets."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

KEYS = 32


Batch = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]
"""Tokens, and targets with -100 where there is none."""


@dataclass(frozen=True)
class Task:
    name: str
    pairs: int
    frames: int

    def draw(self, rows: int, generator: torch.Generator) -> Batch:
        return (self.recall if self.name == "recall" else self.parity)(rows, generator)

    def recall(self, rows: int, generator: torch.Generator) -> Batch:
        keys = torch.rand(rows, KEYS, generator=generator).argsort(1)[:, : self.pairs]
        values = KEYS + torch.randint(KEYS, (rows, self.pairs), generator=generator)
        written = torch.stack([keys, values], dim=2).flatten(1)
        drawn = torch.randint(self.pairs, (rows, self.frames - 2 * self.pairs), generator=generator)
        tokens = torch.cat([written, keys.gather(1, drawn)], dim=1)
        return tokens, torch.cat([torch.full_like(written, -100), values.gather(1, drawn)], dim=1)

    def parity(self, rows: int, generator: torch.Generator) -> Batch:
        bits = torch.randint(2, (rows, self.frames), generator=generator)
        return bits, bits.cumsum(1) % 2
