"""HGRN2, a gated linear recurrence with a matrix memory, as a backbone plugin for lina.

    f_t = floor + (1 - floor) sigmoid(F x_t)                    forget gate, for each key channel
    S_t = diag(f_t) S_{t-1} + (1 - f_t) v_t^T        o_t = S_t^T silu(q_t)

(Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion", arXiv 2404.07904: the key is one
minus the gate.) The floor rises with the layer, so that deeper layers remember longer; here it is layer / n_layers,
the value from which the paper's learned floors start.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from lina.core import (
    Backbone,
    MixerPlugin,
    PluginConfig,
    SpecError,
    gated_linear_attention,
    gated_linear_attention_step,
)


class MixerConfig(PluginConfig):
    n_heads: int = Field(default=4, ge=1)


class MixerState(NamedTuple):
    memory: Float[Tensor, "B H K V"]


class Mixer(nn.Module):
    floor: Tensor

    def __init__(self, d_model: int, n_heads: int, floor: float) -> None:
        super().__init__()
        if d_model % n_heads:
            raise SpecError(f"hgrn2: d_model = {d_model} is not a multiple of n_heads = {n_heads}")
        self.n_heads = n_heads
        self.query, self.forget, self.value, self.out = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(4)
        )
        self.norm = nn.RMSNorm(d_model // n_heads, eps=1e-5)
        self.register_buffer("floor", torch.tensor(floor), persistent=False)

    def initial_state(self, batch: int) -> MixerState:
        weight, width = self.query.weight, self.norm.weight.numel()
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return MixerState(torch.zeros(batch, self.n_heads, width, width, dtype=dtype, device=weight.device))

    def parallel_forward(
        self, x: Float[Tensor, "B T D"], state: MixerState
    ) -> tuple[Float[Tensor, "B T D"], MixerState]:
        return self._mix(gated_linear_attention, x, state)

    def step(self, x: Float[Tensor, "B D"], state: MixerState) -> tuple[Float[Tensor, "B D"], MixerState]:
        return self._mix(gated_linear_attention_step, x, state)

    def _mix(
        self, operator: Callable[..., tuple[Tensor, Tensor]], x: Float[Tensor, "*B D"], state: MixerState
    ) -> tuple[Float[Tensor, "*B D"], MixerState]:
        query, gate, value = (
            project(x).unflatten(-1, (self.n_heads, -1)).to(state.memory.dtype)
            for project in (self.query, self.forget, self.value)
        )
        # In logarithms: a gate that is shut would give log(0), and 1 - f would cancel.
        log_forget = torch.logaddexp(self.floor.log(), torch.log1p(-self.floor) + F.logsigmoid(gate))
        key = (1 - self.floor) * torch.sigmoid(-gate)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = operator(F.silu(query), key, value, log_forget, state.memory, 1.0)
        mixed: Tensor = self.out(self.norm(out).flatten(-2).to(x.dtype))
        return mixed, MixerState(memory)

    def extreme(self) -> None:
        """Make gates so steep that they forget next to nothing or, where the floor allows it, everything."""
        with torch.no_grad():
            self.forget.weight.mul_(1e4)


class Hgrn2Backbone(MixerPlugin):
    """The plugin, which the entry point in pyproject.toml names."""

    Config = MixerConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 16, "n_layers": 2, "config": MixerConfig(n_heads=2)}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: MixerConfig) -> Backbone:
        return Mixer(d_model, config.n_heads, floor=layer / n_layers)
