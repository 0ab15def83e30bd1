"""Toy codec that trains in seconds: linear patches of samples with residual vector quantization."""

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lina.core.plugin import CodecPlugin, PluginConfig
from lina.core.protocols import Reconstruction

RATE, HOP, SIZES, WIDTH = 8000, 80, (16, 16), 8


class ToyConfig(PluginConfig):
    weights: Path | None = None
    codebooks: int | None = Field(default=None, ge=1, le=2)


class ToyCodec(nn.Module):
    sample_rate, hop, channels = RATE, HOP, 1
    codebooks: Tensor

    def __init__(self, codebooks: int) -> None:
        super().__init__()
        self.codebook_sizes: tuple[int, ...] = SIZES[:codebooks]
        self.encoder = nn.Linear(HOP, WIDTH)
        self.decoder = nn.Linear(WIDTH, HOP)
        self.register_buffer("codebooks", torch.randn(len(SIZES), SIZES[0], WIDTH) * 0.3)

    def encode(self, audio: Tensor) -> Tensor:
        return self.quantize(self.latents(audio))[1]

    def decode(self, codes: Tensor) -> Tensor:
        vectors = [self.codebooks[q][codes[..., q]] for q in range(codes.shape[-1])]
        audio: Tensor = self.decoder(torch.stack(vectors).sum(0))
        return audio.flatten(1)[:, None]

    def latents(self, audio: Tensor) -> Tensor:
        latents: Tensor = self.encoder(audio[:, 0].unflatten(-1, (-1, HOP)))
        return latents

    def quantize(self, latents: Tensor, codebooks: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        left, quantized, codes, before = latents.detach(), torch.zeros_like(latents), [], []
        for q in range(len(self.codebook_sizes)):
            before.append(left)
            code = torch.cdist(left, self.codebooks[q].expand(len(left), -1, -1)).argmin(-1)
            used = self.codebooks[q][code]
            if codebooks is not None:
                used = used * (q < codebooks)[:, None, None]
            codes.append(code)
            left, quantized = left - used, quantized + used
        return quantized, torch.stack(codes, -1), torch.stack(before)

    def reconstruct(self, audio: Tensor, codebooks: Tensor) -> Reconstruction:
        latents = self.latents(audio)
        quantized, codes, before = self.quantize(latents, codebooks)
        passed = latents + (quantized - latents).detach()
        commitment = (latents - quantized).square().mean()
        return Reconstruction(
            self.decoder(passed).flatten(1)[:, None], commitment, codes, (before.transpose(0, 1).detach(),)
        )

    @torch.no_grad()
    def learn_codebooks(self, reconstruction: Reconstruction, generator: torch.Generator) -> None:
        for q in range(len(self.codebook_sizes)):
            seen, codes = (
                reconstruction.evidence[0][:, q].flatten(0, 1),
                reconstruction.codes[..., q].flatten(),
            )
            counts = torch.bincount(codes, minlength=SIZES[q])[:, None]
            means = torch.zeros_like(self.codebooks[q]).index_add_(0, codes, seen) / counts.clamp_min(1)
            chosen = torch.randint(len(seen), (SIZES[q],), generator=generator)
            moved = torch.where(counts > 0, self.codebooks[q].lerp(means, 0.1), seen[chosen])
            self.codebooks[q] = moved


class ToyTrainable(CodecPlugin):
    Config = ToyConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": ToyConfig()}

    @classmethod
    def build(cls, *, config: ToyConfig) -> ToyCodec:
        codec = ToyCodec(config.codebooks or len(SIZES))
        if config.weights is not None:
            codec.load_state_dict(load_file(config.weights))
        return codec.eval()

    @classmethod
    def build_trainable(cls, *, config: ToyConfig) -> ToyCodec:
        return ToyCodec(len(SIZES))

    @classmethod
    def save_trained(cls, codec: ToyCodec, path: Path) -> None:
        save_file(codec.state_dict(), path)
