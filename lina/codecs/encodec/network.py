"""EnCodec's encoder, decoder and residual quantizer (Defossez et al. 2022, arXiv 2210.13438, section 3),
whole.

Written from the paper. Modules are numbered as in released weight files (``encoder.layers.0.conv.weight``),
with weight norm already multiplied out.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_KERNEL = 3
COMPRESSION = 2


@dataclass(frozen=True)
class EnCodecSizes:
    """Sizes of an EnCodec."""

    channels: int
    causal: bool
    """Causal convolutions without normalization (24 kHz), or centered ones with a norm over time (48 kHz)."""
    filters: int
    dimension: int
    ratios: tuple[int, ...]
    """Upsampling factors, from frames to samples."""
    kernel: int
    lstm_layers: int
    codebook_size: int
    codebooks: int

    @property
    def width(self) -> int:
        """Channels at the frame rate."""
        return self.filters << len(self.ratios)


def reflect_pad(x: Float[Tensor, "B C N"], left: int, right: int) -> Float[Tensor, "B C M"]:
    """Pad by reflection. A signal too short to reflect is extended by zeros."""
    missing = max(left, right) - x.shape[-1] + 1
    if missing <= 0:
        return functional.pad(x, (left, right), mode="reflect")
    padded = functional.pad(functional.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


class Conv(nn.Module):
    """A convolution that preserves the length (divides it by its stride)."""

    def __init__(self, sizes: EnCodecSizes, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride)
        self.norm = nn.Identity() if sizes.causal else nn.GroupNorm(1, outputs)
        self.causal, self.stride, self.padding = sizes.causal, stride, kernel - stride

    def forward(self, x: Float[Tensor, "B C N"]) -> Float[Tensor, "B D M"]:
        right = 0 if self.causal else self.padding // 2
        y: Tensor = self.norm(self.conv(reflect_pad(x, self.padding - right, right)))
        return y


class UpConv(nn.Module):
    """A transposed convolution that multiplies the length by its ratio; its kernel spans two inputs."""

    def __init__(self, sizes: EnCodecSizes, inputs: int, outputs: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(inputs, outputs, 2 * ratio, ratio)
        self.norm = nn.Identity() if sizes.causal else nn.GroupNorm(1, outputs)
        self.causal, self.ratio = sizes.causal, ratio

    def forward(self, x: Float[Tensor, "B C N"]) -> Float[Tensor, "B D M"]:
        y: Tensor = self.norm(self.conv(x))
        right = self.ratio if self.causal else self.ratio // 2
        return y[..., self.ratio - right : y.shape[-1] - right]


class Residual(nn.Module):
    """Two convolutions around a bottleneck, added to a convolution of width 1."""

    def __init__(self, sizes: EnCodecSizes, width: int) -> None:
        super().__init__()
        inner = width // COMPRESSION
        self.block = nn.ModuleList(
            [nn.ELU(), Conv(sizes, width, inner, RESIDUAL_KERNEL), nn.ELU(), Conv(sizes, inner, width, 1)]
        )
        self.shortcut = Conv(sizes, width, width, 1)

    def forward(self, x: Float[Tensor, "B C N"]) -> Float[Tensor, "B C N"]:
        inner = x
        for layer in self.block:
            inner = layer(inner)
        y: Tensor = self.shortcut(x) + inner
        return y


class Memory(nn.Module):
    """An LSTM added to its input."""

    def __init__(self, sizes: EnCodecSizes) -> None:
        super().__init__()
        self.lstm = nn.LSTM(sizes.width, sizes.width, sizes.lstm_layers)

    def forward(self, x: Float[Tensor, "B C N"]) -> Float[Tensor, "B C N"]:
        over_time = x.permute(2, 0, 1)
        y: Tensor = self.lstm(over_time)[0] + over_time
        return y.permute(1, 2, 0)


class Layers(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Float[Tensor, "B C N"]) -> Float[Tensor, "B D M"]:
        for layer in self.layers:
            x = layer(x)
        return x


def encoder(sizes: EnCodecSizes) -> Layers:
    """Audio [B, C, T * hop] to latents [B, dimension, T]."""
    width = sizes.filters
    layers: list[nn.Module] = [Conv(sizes, sizes.channels, width, sizes.kernel)]
    for ratio in reversed(sizes.ratios):
        layers += [Residual(sizes, width), nn.ELU(), Conv(sizes, width, 2 * width, 2 * ratio, ratio)]
        width *= 2
    return Layers([*layers, Memory(sizes), nn.ELU(), Conv(sizes, width, sizes.dimension, sizes.kernel)])


def decoder(sizes: EnCodecSizes) -> Layers:
    """Latents [B, dimension, T] to audio [B, C, T * hop]."""
    layers: list[nn.Module] = [Conv(sizes, sizes.dimension, sizes.width, sizes.kernel), Memory(sizes)]
    widths = [sizes.width // 2**depth for depth in range(len(sizes.ratios) + 1)]
    for (wide, narrow), ratio in zip(pairwise(widths), sizes.ratios, strict=True):
        layers += [nn.ELU(), UpConv(sizes, wide, narrow, ratio), Residual(sizes, narrow)]
    return Layers([*layers, nn.ELU(), Conv(sizes, sizes.filters, sizes.channels, sizes.kernel)])


class Quantizer(nn.Module):
    """Residual vector quantization: each codebook codes the residual of the ones before it (section 3.2)."""

    embed: Tensor
    """[codebooks, codebook size, dimension]"""

    def __init__(self, sizes: EnCodecSizes) -> None:
        super().__init__()
        shape = (sizes.codebooks, sizes.codebook_size, sizes.dimension)
        self.register_buffer("embed", torch.zeros(shape))

    def encode(self, latents: Float[Tensor, "B D T"]) -> Int[Tensor, "B T Q"]:
        rest = latents.permute(0, 2, 1)
        batch, time, dimension = rest.shape
        rest = rest.reshape(-1, dimension)
        codes = []
        for entries in self.embed:
            # Squared distance in this order of operations, so that codes equal the reference's bit for bit.
            across = entries.t()
            distance = (
                rest.pow(2).sum(1, keepdim=True) - 2 * rest @ across + across.pow(2).sum(0, keepdim=True)
            )
            nearest = (-distance).max(dim=-1).indices
            rest = rest - functional.embedding(nearest, entries)
            codes.append(nearest.view(batch, time))
        return torch.stack(codes, dim=2)

    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B D T"]:
        total = functional.embedding(codes[..., 0], self.embed[0])
        for entries, nearest in zip(self.embed[1:], codes.unbind(2)[1:], strict=True):
            total = total + functional.embedding(nearest, entries)
        return total.permute(0, 2, 1)


class Network(nn.Module):
    """Encoder, decoder and quantizer, as one set of weights."""

    def __init__(self, sizes: EnCodecSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = encoder(sizes)
        self.decoder = decoder(sizes)
        self.quantizer = Quantizer(sizes)

    def encode(self, audio: Float[Tensor, "B C samples"]) -> Int[Tensor, "B T Q"]:
        codes: Tensor = self.quantizer.encode(self.encoder(audio))
        return codes

    def decode(self, codes: Int[Tensor, "B T Q"]) -> Float[Tensor, "B C samples"]:
        audio: Tensor = self.decoder(self.quantizer.decode(codes))
        return audio
