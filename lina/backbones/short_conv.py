"""Short convolutions of queries, keys and values, an option of linear attention (``use_short_conv`` in fla's layers).

With one, a single layer can store what follows a key under that key, which recall needs; without, one layer has to
bring the two together before another can store them.
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lina.core.ops.causal_conv import causal_convolution, causal_convolution_step


class ShortConvolutions(nn.Module):
    """Depthwise causal convolutions of several projections, then SiLU; one tail holds the last inputs of all."""

    def __init__(self, widths: tuple[int, ...], taps: int) -> None:
        super().__init__()
        self.widths = widths
        self.convolutions = nn.ModuleList(nn.Conv1d(n, n, taps, groups=n, bias=False) for n in widths)

    def initial_tail(self, batch: int, dtype: torch.dtype) -> Float[Tensor, "B W_minus_1 C"]:
        weight = self._weights[0]
        return torch.zeros(batch, weight.shape[-1] - 1, sum(self.widths), dtype=dtype, device=weight.device)

    def parallel_forward(
        self,
        parts: tuple[Tensor, ...],
        tail: Float[Tensor, "B W_minus_1 C"],
        starts: Bool[Tensor, "B T"] | None,
    ) -> tuple[tuple[Tensor, ...], Float[Tensor, "B W_minus_1 C"]]:
        mixed, tail = causal_convolution(torch.cat(parts, -1), self._taps(tail.dtype), None, tail, starts)
        return F.silu(mixed).split(self.widths, -1), tail

    def step(
        self, parts: tuple[Tensor, ...], tail: Float[Tensor, "B W_minus_1 C"]
    ) -> tuple[tuple[Tensor, ...], Float[Tensor, "B W_minus_1 C"]]:
        mixed, tail = causal_convolution_step(torch.cat(parts, -1), self._taps(tail.dtype), None, tail)
        return F.silu(mixed).split(self.widths, -1), tail

    @property
    def _weights(self) -> list[Tensor]:
        return [cast(nn.Conv1d, convolution).weight for convolution in self.convolutions]

    def _taps(self, dtype: torch.dtype) -> Float[Tensor, "C 1 W"]:
        return torch.cat(self._weights).to(dtype)
