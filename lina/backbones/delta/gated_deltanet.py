"""Gated DeltaNet (Yang et al. 2024, arXiv 2412.06464): a delta rule with one decay per head.

The value stored under a unit key moves by beta towards the new one; before that, the whole memory of
the head decays by exp(-A softplus(projection + bias)). Parameters are named as in flash-linear-attention's layer.
"""

from typing import Any, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from lina.backbones.delta.gated_delta import GatedDeltaConfig, GatedDeltaMixer, inverse_softplus
from lina.core.model.stack import MixerPlugin
from lina.core.protocols import Backbone


class GatedDeltaNetConfig(GatedDeltaConfig):
    expand_k: float = Field(default=1.0, gt=0)
    """Key width over model width."""
    expand_v: float = Field(default=2.0, gt=0)
    """Value width over model width."""
    a_min: float = Field(default=1.0, ge=0)
    """Initial decay rates A are drawn from ``a_min`` .. ``a_max``; fla's begin at 0, with longer memories."""
    a_max: float = Field(default=16.0, gt=0)
    """With few heads, and all of them short memories at first, nothing learns to recall; with 0.01 .. 0.3 it does."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.a_min >= self.a_max:
            raise ValueError(f"a_min = {self.a_min:g} is not below a_max = {self.a_max:g}")
        return self


class GatedDeltaNetMixer(GatedDeltaMixer):
    plugin = "gated_deltanet"

    def __init__(self, d_model: int, config: GatedDeltaNetConfig) -> None:
        d_value = int(d_model * config.expand_v)
        super().__init__(d_model, int(d_model * config.expand_k), d_value, config)
        self.a_proj = nn.Linear(d_model, config.n_heads, bias=False)
        self.A_log = nn.Parameter(torch.empty(config.n_heads).uniform_(config.a_min, config.a_max).log())
        # The steps of Mamba-2: from 1e-3 to 0.1, evenly in their logarithms.
        steps = 10 ** torch.empty(config.n_heads).uniform_(-3, -1)
        self.dt_bias = nn.Parameter(inverse_softplus(steps))
        self.g_proj = nn.Linear(d_model, d_value, bias=False)

    def log_decay(self, x: Float[Tensor, "*B D"], dtype: torch.dtype) -> Float[Tensor, "*B H 1"]:
        step = F.softplus(self.a_proj(x).to(dtype) + self.dt_bias.to(dtype))
        return (-self.A_log.to(dtype).exp() * step)[..., None]

    def out_gate(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B H_V"]:
        return F.silu(self.g_proj(x))

    def extreme(self) -> None:
        """Spread log-decays over heads from about -1e-4 to -1e4 per step, and set beta near 0 and 1, for the laws."""
        spread = torch.logspace(-4, 4, self.n_heads, dtype=torch.float64).log()
        with torch.no_grad():
            self.A_log.copy_(spread[torch.randperm(self.n_heads)])
            self.dt_bias.fill_(inverse_softplus(torch.ones(())))
            self.b_proj.weight.mul_(30.0)


class GatedDeltaNet(MixerPlugin):
    """The plugin."""

    Config = GatedDeltaNetConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 32, "n_layers": 2, "config": GatedDeltaNetConfig(n_heads=4)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: GatedDeltaNetConfig) -> Backbone:
        return GatedDeltaNetMixer(d_model, config)
