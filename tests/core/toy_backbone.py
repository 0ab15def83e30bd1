"""An honest backbone, small enough to read: the tests break it in one way at a time."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lina.core.plugin import BackbonePlugin

CHUNK = 16


class DecayState(NamedTuple):
    memory: Float[Tensor, "B D"]
    before: Float[Tensor, "B D"]
    """The frame before, for the token shift."""
    position: Int[Tensor, " B"]


class DiagonalDecay(nn.Module):
    """memory = decay(x) * memory + value(x); y = memory * tanh(gate(x) + before)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.decay, self.value, self.gate = (nn.Linear(d_model, d_model) for _ in range(3))

    def initial_state(self, batch: int) -> DecayState:
        weight = self.decay.weight
        zeros = weight.new_zeros(batch, weight.shape[0])
        return DecayState(zeros, zeros.clone(), torch.zeros(batch, dtype=torch.int64, device=weight.device))

    def step(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        memory = nn.functional.logsigmoid(self.decay(x)).exp() * state.memory + self.value(x)
        y = memory * torch.tanh(self.gate(x) + state.before)
        return y, DecayState(memory, x.clone(), state.position + 1)

    def parallel_forward(self, x: Tensor, state: DecayState) -> tuple[Tensor, DecayState]:
        log_decay, value = nn.functional.logsigmoid(self.decay(x)), self.value(x)
        memory, stretches = state.memory, []
        for log_a, v in zip(log_decay.split(CHUNK, 1), value.split(CHUNK, 1), strict=True):
            stretches.append(self.chunk(log_a, v, memory))
            memory = stretches[-1][:, -1]
        memories = torch.cat(stretches, dim=1)
        shifted = torch.cat([state.before[:, None], x[:, :-1]], dim=1)
        y = memories * torch.tanh(self.gate(x) + shifted)
        return y, DecayState(memories[:, -1].clone(), x[:, -1].clone(), state.position + x.shape[1])

    def chunk(self, log_a: Tensor, v: Tensor, memory: Tensor) -> Tensor:
        """Memories at each frame. Decay from frame i to j is a segment sum, so that it never overflows."""
        frames = log_a.shape[1]
        later = torch.ones(frames, frames, dtype=torch.bool, device=log_a.device).tril(-1)[None, :, :, None]
        segments = torch.where(later, log_a[:, :, None], 0.0).cumsum(1)
        upto = torch.ones(frames, frames, dtype=torch.bool, device=log_a.device).tril()[None, :, :, None]
        decays = segments.masked_fill(~upto, -torch.inf).exp()
        return (decays * v[:, None]).sum(2) + log_a.cumsum(1).exp() * memory[:, None]


class Toy(BackbonePlugin):
    Module: type[DiagonalDecay] = DiagonalDecay

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 8, "n_layers": 1, "config": {}}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> DiagonalDecay:
        return cls.Module(d_model)
