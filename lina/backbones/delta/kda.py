"""Kimi Delta Attention (Kimi Team 2025, arXiv 2510.26692): a delta rule with one decay per channel.

As Gated DeltaNet, with a decay exp(-A softplus(low-rank projection + bias)) per key channel, and sigmoid gates.
Parameters are named as in flash-linear-attention's layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from lina.backbones.delta.gated_delta import GatedDeltaConfig, GatedDeltaMixer, inverse_softplus
from lina.core.model.stack import MixerPlugin
from lina.core.protocols import Backbone


class KDAConfig(GatedDeltaConfig):
    expand_k: float = Field(default=1.0, gt=0)
    """Key width over model width."""
    expand_v: float = Field(default=1.0, gt=0)
    """Value width over model width."""


class KDAMixer(GatedDeltaMixer):
    plugin = "kda"

    def __init__(self, d_model: int, config: KDAConfig) -> None:
        d_key, d_value = int(d_model * config.expand_k), int(d_model * config.expand_v)
        super().__init__(d_model, d_key, d_value, config)
        rank = d_value // config.n_heads
        self.f_proj = nn.Sequential(nn.Linear(d_model, rank, bias=False), nn.Linear(rank, d_key, bias=False))
        self.A_log = nn.Parameter(torch.empty(config.n_heads).uniform_(1, 16).log())
        steps = 10 ** torch.empty(d_key).uniform_(-3, -1)
        self.dt_bias = nn.Parameter(inverse_softplus(steps))
        self.g_proj = nn.Sequential(nn.Linear(d_model, rank, bias=False), nn.Linear(rank, d_value))

    def log_decay(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> Float[Tensor, "*B H K"]:
        steps = F.softplus(self.f_proj(x).to(dtype) + self.dt_bias.to(dtype))
        log_decay: Tensor = -self.A_log.to(dtype).exp()[:, None] * steps.unflatten(-1, (self.n_heads, -1))
        return log_decay

    def out_gate(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B H_V"]:
        return torch.sigmoid(self.g_proj(x))

    def extreme(self) -> None:
        """Spread log-decays over channels from about -1e-4 to -1e4 per step, and beta near 0 and 1, for the laws."""
        channels = self.dt_bias.numel()
        spread = inverse_softplus(torch.logspace(-4, 4, channels, dtype=torch.float64))
        with torch.no_grad():
            self.A_log.zero_()
            self.dt_bias.copy_(spread[torch.randperm(channels)])
            self.b_proj.weight.mul_(30.0)


class KDA(MixerPlugin):
    """The plugin."""

    Config = KDAConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": KDAConfig(n_heads=2)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: KDAConfig) -> Backbone:
        return KDAMixer(d_model, config)
