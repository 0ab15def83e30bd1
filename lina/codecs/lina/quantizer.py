"""Residual vector quantization: each codebook codes the residual of the ones before it (Zeghidour et al. 2021,
"SoundStream", arXiv 2107.03312, section III-C).

Entries are moving averages of the vectors that they code (van den Oord et al. 2017, arXiv 1711.00937, appendix A.1),
and rarely used entries are replaced by vectors to be coded.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

FORGET = 0.98
"""Decay of the moving averages per step."""
DEAD = 0.2
"""An entry used less than this share of uniform use is replaced."""


TRUSTED = 100.0
"""Usage count of loaded entries."""


class Quantized(NamedTuple):
    latents: Float[Tensor, "B T L"]
    """Quantized vectors; gradients pass straight through to the input."""
    codes: Int[Tensor, "B T Q"]
    commitment: Float[Tensor, ""]
    rests: Float[Tensor, "Q B T L"]
    """Residuals, the inputs of each codebook."""
    used: Bool[Tensor, "B Q"]
    """Mask of the codebooks that each row used."""


class Quantizer(nn.Module):
    entries: Float[Tensor, "Q K L"]
    counts: Float[Tensor, "Q K"]
    """Uses of each entry per step: a moving average."""
    sums: Float[Tensor, "Q K L"]
    """Sum of the vectors that each entry codes: a moving average."""

    def __init__(self, codebooks: int, size: int, latent: int) -> None:
        super().__init__()
        self.register_buffer("entries", torch.zeros(codebooks, size, latent))
        self.register_buffer("counts", torch.zeros(codebooks, size))
        self.register_buffer("sums", torch.zeros(codebooks, size, latent))

    def trust_entries(self) -> None:
        """Treat the entries as learned: they stay until their usage is known."""
        self.counts.fill_(TRUSTED)
        self.sums.copy_(self.entries * TRUSTED)

    def encode(self, latents: Float[Tensor, "*B L"], codebooks: int) -> Int[Tensor, "*B Q"]:
        rest, codes = latents, []
        for entries in self.entries[:codebooks]:
            codes.append(_nearest(rest, entries))
            rest = rest - F.embedding(codes[-1], entries)
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Int[Tensor, "*B Q"]) -> Float[Tensor, "*B L"]:
        """Decode codes of the first Q codebooks."""
        count, size = codes.shape[-1], self.entries.shape[1]
        offsets = torch.arange(0, count * size, size, device=codes.device)
        return F.embedding(codes + offsets, self.entries.flatten(0, 1)).sum(-2)

    def quantize(self, latents: Float[Tensor, "B T L"], codebooks: Int[Tensor, "B"]) -> Quantized:
        """Quantize in training; row b by its first ``codebooks[b]`` codebooks."""
        used = torch.arange(len(self.entries), device=latents.device) < codebooks[:, None]
        total, commitment = torch.zeros_like(latents), latents.new_zeros(())
        codes, rests = [], []
        for entries, goes in zip(self.entries, used.unbind(1), strict=True):
            rest = latents - total
            rests.append(rest.detach())
            codes.append(_nearest(rests[-1], entries))
            found, weight = F.embedding(codes[-1], entries), goes.to(latents.dtype)[:, None, None]
            commitment = commitment + ((rest - found).square() * weight).mean()
            total = total + found * weight
        straight = latents + (total - latents).detach()
        return Quantized(straight, torch.stack(codes, dim=-1), commitment, torch.stack(rests), used)

    @torch.no_grad()
    def learn(
        self,
        rests: Float[Tensor, "Q B T L"],
        codes: Int[Tensor, "B T Q"],
        used: Bool[Tensor, "B Q"],
        generator: torch.Generator,
    ) -> None:
        """Move the entries towards the mean of the vectors that they code; replace dead ones by a random input."""
        count, size, latent = self.entries.shape
        frames = rests.flatten(1, 2)  # [Q, N, L]
        weight = used.T[:, :, None].expand(-1, -1, rests.shape[2]).flatten(1).to(frames.dtype)  # [Q, N]
        index = codes.flatten(0, 1).T  # [Q, N]
        counts = torch.zeros_like(self.counts).scatter_add_(1, index, weight)
        spread = index[..., None].expand(-1, -1, latent)
        sums = torch.zeros_like(self.sums).scatter_add_(1, spread, frames * weight[..., None])
        fair = weight.sum(1, keepdim=True) / size
        seen = (fair > 0).to(frames.dtype) * (1 - FORGET)  # a codebook that no row used does not change
        self.counts.lerp_(counts, seen)
        self.sums.lerp_(sums, seen[..., None])
        mean = torch.where(self.counts[..., None] > 0, self.sums / self.counts[..., None], self.entries)
        dead = self.counts < DEAD * fair
        # Frames that used a codebook come first, and one of them is drawn.
        draws = torch.rand(count, size, generator=generator).to(frames.device, non_blocking=True)
        order = weight.argsort(dim=1, descending=True, stable=True)
        chosen = order.gather(1, (draws * weight.sum(1, keepdim=True)).long().clamp(max=frames.shape[1] - 1))
        stand_in = frames.gather(1, chosen[..., None].expand(-1, -1, latent))
        self.entries.copy_(torch.where(dead[..., None], stand_in, mean))
        self.counts.copy_(torch.where(dead, fair, self.counts))
        self.sums.copy_(torch.where(dead[..., None], stand_in * fair[..., None], self.sums))


def _nearest(x: Float[Tensor, "*B L"], entries: Float[Tensor, "K L"]) -> Int[Tensor, "*B"]:
    """Squared Euclidean distance, without the term that all entries share."""
    return (entries.square().sum(-1) - 2 * x @ entries.T).argmin(-1)
