"""Causal layers over frames [B, T, C]. Each takes its state, a tensor, and returns the next: folding over any split of
time gives the whole.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.ops.scalar_decay_attention import scalar_decay_attention, scalar_decay_attention_step

FEW = 16
"""Up to this many frames, products and sums are faster than the overhead of a convolution: 14 µs against 99 at 4 frames
of 192 channels on a CPU."""

RETENTION_EPS = 1e-2
"""Epsilon of the norm of values read from a memory: values near zero stay small."""


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution and a perceptron per frame, added to the input (Liu et al. 2022, arXiv 2201.03545;
    over time as in Vocos, Siuzdak 2023, arXiv 2306.00814), made causal.

    Its state is the last kernel - 1 inputs.
    """

    def __init__(self, width: int, expansion: int, kernel: int, scale: float) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.empty(kernel, width))
        """Weight of the depthwise convolution, oldest first."""
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))
        for weight in (self.taps, self.widen.weight, self.narrow.weight):
            nn.init.trunc_normal_(weight, std=0.02)
        nn.init.zeros_(self.widen.bias)
        nn.init.zeros_(self.narrow.bias)

    def initial_state(self, batch: int) -> Float[Tensor, "B past C"]:
        kernel, width = self.taps.shape
        return self.taps.new_zeros(batch, kernel - 1, width)

    def forward(
        self, x: Float[Tensor, "B T C"], state: Float[Tensor, "B past C"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B past C"]]:
        seen = torch.cat([state, x], dim=1)
        mixed = self.norm(self._convolve(seen, x.shape[1]))
        y = torch.addcmul(x, self.narrow(F.silu(self.widen(mixed))), self.scale)
        return y, seen[:, x.shape[1] :]

    def _convolve(self, seen: Float[Tensor, "B seen C"], frames: int) -> Float[Tensor, "B T C"]:
        kernel, width = self.taps.shape
        if frames > FEW:
            weight = self.taps.T[:, None]
            return F.conv1d(seen.transpose(1, 2), weight, self.bias, groups=width).transpose(1, 2)
        windows = seen.unfold(1, kernel, 1).transpose(2, 3)
        return (windows * self.taps).sum(2) + self.bias


class Retention(nn.Module):
    """Linear attention with fixed decays (Sun et al. 2023, arXiv 2307.08621), added to the input.

    Head h decays by 2^(-3 - h) per frame: at 25 Hz memories of a third of a second to some seconds. It carries
    properties common to many frames, such as the speaker, so that codes need not repeat them. There is no rotation by
    position, which the convolutions around it encode.
    """

    log_decay: Tensor

    def __init__(self, width: int, heads: int, keys: int, scale: float) -> None:
        super().__init__()
        self.heads, self.head_keys = heads, keys
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.enter = nn.Linear(width, 2 * heads * keys + width, bias=False)
        self.leave = nn.Linear(width, width, bias=False)
        self.scale = nn.Parameter(torch.full((width,), scale))
        log_decay = torch.log1p(-torch.exp2(-3.0 - torch.arange(heads, dtype=torch.float64)))
        self.register_buffer("log_decay", log_decay.float(), persistent=False)
        for layer in (self.enter, self.leave):
            nn.init.xavier_uniform_(layer.weight)

    def initial_state(self, batch: int) -> Float[Tensor, "B H K V"]:
        weight = self.leave.weight
        return weight.new_zeros(batch, self.heads, self.head_keys, len(weight) // self.heads)

    def forward(
        self, x: Float[Tensor, "B T C"], state: Float[Tensor, "B H K V"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B H K V"]]:
        keys = self.heads * self.head_keys
        q, k, v = (
            part.unflatten(-1, (self.heads, -1))
            for part in self.enter(self.norm(x)).split((keys, keys, x.shape[-1]), dim=-1)
        )
        log_decay, scale = self.log_decay.expand(*x.shape[:2], -1), self.head_keys**-0.5
        if x.shape[1] == 1:
            q, k, v, log_decay = (tensor[:, 0] for tensor in (q, k, v, log_decay))
            heads, state = scalar_decay_attention_step(q, k, v, log_decay, state, scale)
            heads = heads[:, None]
        else:
            heads, state = scalar_decay_attention(q, k, v, log_decay, state, scale)
        # Correlated values add up over a memory's length.
        mean = heads * -self.log_decay.expm1()[:, None]
        normed = F.layer_norm(mean, mean.shape[-1:], eps=RETENTION_EPS).flatten(-2)
        return torch.addcmul(x, self.leave(normed), self.scale), state
