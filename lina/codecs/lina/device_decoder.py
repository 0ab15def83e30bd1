"""The decoder for a GPU: the inverse transform of its spectra is a matrix product.

A few spectra are one small product; the library of Fourier transforms takes .2 s to load, and makes a plan for each
number of them.
"""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.codecs.lina.spectra import LOUDEST, Synthesis
from lina.codecs.lina.stream import LinaDecoder


class MatrixSynthesis(Synthesis):
    """``Synthesis`` with the same weights."""

    basis: Float[Tensor, "parts window"]
    """The windowed samples of a unit real part, then of a unit imaginary part, of each bin."""

    def __init__(self, plain: Synthesis) -> None:
        nn.Module.__init__(self)
        self.hop, self.norm, self.head = plain.hop, plain.norm, plain.head
        self.register_buffer("window", plain.window, persistent=False)
        units = torch.eye(plain.head.out_features // 2, dtype=torch.complex128)
        samples = torch.fft.irfft(torch.cat([units, 1j * units]), n=len(plain.window))
        self.register_buffer("basis", (samples * plain.window.double().cpu()).float(), persistent=False)

    def stretches(self, x: Float[Tensor, "B S C"]) -> Float[Tensor, "B S window"]:
        loudness, phase = self.head(self.norm(x)).chunk(2, dim=-1)
        magnitude = loudness.clamp(max=LOUDEST).exp()
        return torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], -1) @ self.basis


def device_decoder(decoder: LinaDecoder, device: torch.device) -> LinaDecoder:
    """A copy on another device."""
    copied = copy.deepcopy(decoder)
    copied.network.synthesis = MatrixSynthesis(copied.network.synthesis)
    return copied.to(device)
