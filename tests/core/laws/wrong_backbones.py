"""Twenty backbones with mistakes that were made, or could be: each with the law that names it, and its message."""

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lina.core import (
    Backbone,
    BackbonePlugin,
    MixerPlugin,
    PluginConfig,
    gated_linear_attention,
    gated_linear_attention_step,
)
from lina.core.plugin import Plugin


class Memory(NamedTuple):
    memory: Tensor


class Attention(nn.Module):
    """Right: linear attention with a learned decay per head."""

    def __init__(self, d_model: int, n_heads: int = 2) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.decay = nn.Parameter(torch.linspace(1.0, 4.0, n_heads))

    def initial_state(self, batch: int) -> Any:
        weight, width = self.out.weight, self.out.in_features // self.n_heads
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return Memory(torch.zeros(batch, self.n_heads, width, width, dtype=dtype, device=weight.device))

    def heads(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value = (
            project(x).unflatten(-1, (self.n_heads, -1)).to(dtype)
            for project in (self.query, self.key, self.value)
        )
        log_decay = F.logsigmoid(self.decay.to(dtype))[:, None].expand_as(key)
        return query, key, value, log_decay

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        parts = self.heads(x, state.memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = gated_linear_attention(*parts, state.memory, 0.5)
        return self.out(out.flatten(-2).to(x.dtype)), Memory(memory)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        parts = self.heads(x, state.memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            out, memory = gated_linear_attention_step(*parts, state.memory, 0.5)
        return self.out(out.flatten(-2).to(x.dtype)), Memory(memory)


class NoCastToTheState(Attention):
    """Runs in float32 and dies in the first step of a run, which trains under autocast."""

    def heads(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value = (
            project(x).unflatten(-1, (self.n_heads, -1)) for project in (self.query, self.key, self.value)
        )
        return query, key, value, F.logsigmoid(self.decay)[:, None].expand_as(key)


class StateOfTheWeights(Attention):
    """The memory comes back in the dtype of the weights."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = super().step(x, state)
        return y, Memory(after.memory.to(self.out.weight.dtype))


class MeanOverTimeInTraining(Attention):
    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = super().parallel_forward(x, state)
        return (y - y.mean(1, keepdim=True) if self.training else y), after


class BatchNormInTraining(Attention):
    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.norm = nn.BatchNorm1d(d_model)

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().parallel_forward(self.norm(x.flatten(0, 1)).view_as(x), state)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().step(self.norm(x), state)


class BatchStatistics(Attention):
    """BatchNorm without running statistics, in training."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if self.training:
            x = x / (1 + x[:, :1].square().mean((0, 1)).sqrt())
        return super().parallel_forward(x, state)


class ForgetsAfter256(Attention):
    """Longer stretches are cut, and each piece begins with the first state."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs: list[Tensor] = []
        for piece in x.split(256, dim=1):
            y, after = super().parallel_forward(piece, state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), after


class DetachesAfter256(Attention):
    """Values are right; gradients end at the cut."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        outputs = []
        for index, piece in enumerate(x.split(256, dim=1)):
            y, state = super().parallel_forward(piece, Memory(state.memory.detach()) if index else state)
            outputs.append(y)
        return torch.cat(outputs, dim=1), state


class Ring(NamedTuple):
    frames: Tensor
    position: Tensor


class RingOneShort(nn.Module):
    """The mean of the last 300 frames, of which the ring buffer of ``step`` keeps 299."""

    window = 300

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = nn.Linear(d_model, d_model)

    def initial_state(self, batch: int) -> Ring:
        weight = self.out.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        frames = torch.zeros(batch, self.window - 1, weight.shape[1], dtype=dtype, device=weight.device)
        return Ring(frames, torch.zeros(batch, dtype=torch.int64, device=weight.device))

    def parallel_forward(self, x: Tensor, state: Ring) -> tuple[Tensor, Ring]:
        joined = torch.cat([state.frames, x.to(state.frames.dtype)], dim=1)
        mean = F.avg_pool1d(joined.transpose(1, 2), self.window, 1).transpose(1, 2)
        after = Ring(joined[:, -self.window + 1 :].clone(), state.position + x.shape[1])
        return self.out(mean.to(x.dtype)), after

    def step(self, x: Tensor, state: Ring) -> tuple[Tensor, Ring]:
        joined = torch.cat([state.frames, x[:, None].to(state.frames.dtype)], dim=1)
        full = state.position[:, None, None] >= self.window
        kept = torch.cat([torch.where(full, 0.0, joined[:, :1]), joined[:, 1:]], dim=1)
        return self.out(kept.mean(1).to(x.dtype)), Ring(joined[:, 1:].clone(), state.position + 1)


class StateOnTheCpu(Attention):
    def initial_state(self, batch: int) -> Any:
        weight, width = self.out.weight, self.out.in_features // self.n_heads
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return Memory(torch.zeros(batch, self.n_heads, width, width, dtype=dtype))


class ThreeRows(Attention):
    """Decays of the rows from the fourth on were never filled in."""

    def heads(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, log_decay = super().heads(x, dtype)
        rows = torch.arange(len(x), device=x.device).view(-1, *[1] * (key.dim() - 1))
        return query, key, value, torch.where(rows < 3, log_decay, 0.0)


class ComplexState(nn.Module):
    """A linear recurrent unit as one would write it."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = nn.Linear(d_model, d_model)
        self.phase = nn.Parameter(torch.rand(d_model))

    def initial_state(self, batch: int) -> Memory:
        return Memory(torch.zeros(batch, self.phase.numel(), dtype=torch.complex64, device=self.phase.device))

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        memory = 0.9 * torch.exp(1j * self.phase) * state.memory + x
        return self.out(memory.real), Memory(memory)

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        outputs = []
        for frame in x.unbind(1):
            y, state = self.step(frame, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1), state


class SeedsInTheConstructor(Attention):
    """ "Reproducible" weights: every run has the same ones, whatever its seed."""

    def __init__(self, d_model: int) -> None:
        torch.manual_seed(0)
        super().__init__(d_model)


class NumpyWeights(Attention):
    """Drawn by a generator that lina does not seed."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        with torch.no_grad():
            weight = np.random.default_rng().normal(size=(d_model, d_model)) / math.sqrt(d_model)
            self.query.weight.copy_(torch.from_numpy(weight))


class DoubleState(Attention):
    def initial_state(self, batch: int) -> Any:
        return Memory(super().initial_state(batch).memory.double())

    def heads(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, log_decay = (part.double() for part in super().heads(x, dtype))
        return query, key, value, log_decay


class OutputBuffer(Attention):
    """Every step writes into the tensor that the last one returned."""

    buffer: Tensor | None = None

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = super().step(x, state)
        if self.buffer is None or self.buffer.shape != y.shape or self.buffer.dtype != y.dtype:
            object.__setattr__(self, "buffer", torch.empty_like(y))
        assert self.buffer is not None
        with torch.no_grad():
            self.buffer.copy_(y)
        return self.buffer, after


class Cache(NamedTuple):
    seen: Tensor


class GrowingCache(nn.Module):
    """Attention over everything, with a cache of everything."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = nn.Linear(d_model, d_model)

    def initial_state(self, batch: int) -> Cache:
        return Cache(self.out.weight.new_zeros(batch, 0, self.out.in_features))

    def parallel_forward(self, x: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        seen = torch.cat([state.seen, x.to(state.seen.dtype)], dim=1)
        ages = torch.arange(1, seen.shape[1] + 1, device=x.device)[:, None]
        means = (seen.cumsum(1) / ages)[:, -x.shape[1] :]
        return self.out(means.to(x.dtype)), Cache(seen)

    def step(self, x: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        y, after = self.parallel_forward(x[:, None], state)
        return y[:, 0], after


class NoRank(PluginConfig):
    rank: int = Field(default=None)  # type: ignore[assignment]


class CumulativeDecay(Attention):
    """exp(+cumsum) of a decay per head, a vector: equal in exact arithmetic, and infinite for a head that forgets."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        query, key, value, log_decay = self.heads(x, state.memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            total = log_decay.cumsum(1)
            inside = (query * total.exp()).transpose(1, 2) @ (key * (-total).exp()).permute(0, 2, 3, 1)
            before = (query * total.exp()).transpose(1, 2) @ state.memory
            out = 0.5 * (inside.tril() @ value.transpose(1, 2) + before).transpose(1, 2)
            ends = total[:, -1:].exp() * (key * (-total).exp())
            memory = total[:, -1, :, :, None].exp() * state.memory + torch.einsum(
                "bthk,bthv->bhkv", ends, value
            )
        return self.out(out.flatten(-2).to(x.dtype)), Memory(memory)


class NormOverTime(Attention):
    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().parallel_forward(x / x.std(1, correction=0, keepdim=True).clamp_min(1e-3), state)


class PaddingDecaysTheState(Attention):
    """The last chunk is filled up with frames that write nothing and forget."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = super().parallel_forward(x, state)
        missing = -x.shape[1] % 16
        faded = torch.sigmoid(self.decay.to(after.memory.dtype)) ** missing
        return y, Memory(after.memory * faded[:, None, None])


class HalfWidth(Attention):
    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, after = super().parallel_forward(x, state)
        return y[..., ::2], after


class OutputAlone(Attention):
    """Does not return the state."""

    def step(self, x: Tensor, state: Any) -> Any:
        return super().step(x, state)[0]


class NoGradients(Attention):
    """Training begins with the stretch: the initial state gets no gradient."""

    def parallel_forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().parallel_forward(x, Memory(state.memory.detach()))


class Wrong(MixerPlugin):
    Mixer: ClassVar[type[nn.Module]]

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 8, "n_layers": 1, "config": cls.Config()}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
        mixer: Any = cls.Mixer(d_model)
        return mixer  # type: ignore[no-any-return]


class Alone(BackbonePlugin):
    """A backbone of one mixer, without a stack."""

    Mixer: ClassVar[type[nn.Module]]

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 8, "n_layers": 1, "config": cls.Config()}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> Backbone:
        backbone: Any = cls.Mixer(d_model)
        return backbone  # type: ignore[no-any-return]


def alone(mixer: type[nn.Module]) -> type[Plugin]:
    return type(mixer.__name__, (Alone,), {"Mixer": mixer})


def plugin(mixer: type[nn.Module], config: type[PluginConfig] = PluginConfig) -> type[Plugin]:
    return type(mixer.__name__, (Wrong,), {"Mixer": mixer, "Config": config})


RIGHT = plugin(Attention)
NO_RANK = type("DefaultOfNoRank", (Wrong,), {"Mixer": Attention, "Config": NoRank})

WRONG_BACKBONES: list[tuple[str, type[Plugin], str]] = [
    (
        "mixed_precision",
        plugin(NoCastToTheState),
        "under bfloat16 autocast, parallel_forward: .*run the recurrence",
    ),
    ("mixed_precision", plugin(StateOfTheWeights), "with bfloat16 weights, step: .*found .* torch.bfloat16"),
    (
        "causality",
        plugin(MeanOverTimeInTraining),
        r"in training mode, .* frame 41.* first at \[\d, 0, \d\]",
    ),
    ("step_is_pure", plugin(BatchNormInTraining), "buffers, after calls in training mode .*running_mean"),
    (
        "rows_are_independent",
        plugin(BatchStatistics),
        r"in training mode, other rows while row 1 is NaN.* \[0, 0, 0\]",
    ),
    (
        "long_lengths",
        plugin(ForgetsAfter256),
        r"2,048 frames in pieces of 127: outputs y: .* first at \[0, 256, \d\]",
    ),
    ("long_lengths", plugin(DetachesAfter256), r"2,048 frames in pieces of 127: gradient of .* first at \["),
    ("long_lengths", plugin(RingOneShort), r"step, folded over stretches.* first at \[0, 293, \d\]"),
    (
        "state_follows_the_module",
        plugin(StateOnTheCpu),
        "state 0.memory: expected on the module's device, here meta",
    ),
    ("rows_are_independent", plugin(ThreeRows), r"rows \[8\] of a batch of 9.* first at \[0, \d, \d\]"),
    ("state_is_fixed", plugin(ComplexState), "state 0.memory is torch.complex64: states are real"),
    ("weights_follow_the_seed", plugin(SeedsInTheConstructor), "parameters are the same under two seeds"),
    (
        "weights_follow_the_seed",
        plugin(NumpyWeights),
        r"with the same seed: .*query.weight: .* first at \[0, 0\]",
    ),
    ("state_is_fixed", plugin(DoubleState), "state 0.memory: float64 under torch.float32 weights"),
    ("step_is_pure", alone(OutputBuffer), "step: its result, after a later call output: .* first at "),
    ("state_is_fixed", plugin(GrowingCache), r"state 0.seen: expected \[3, 0, 8\] .* found \[3, 80, 8\]"),
    ("config_defaults_are_valid", NO_RANK, "NoRank.rank: its default None is refused by its own type"),
    (
        "rows_are_independent",
        plugin(CumulativeDecay),
        "outputs y: expected finite numbers, found .*default `extreme`",
    ),
    ("causality", plugin(NormOverTime), r"outputs before frame 1, .* first at \[\d, 0, \d\]"),
    (
        "chunks_compose",
        plugin(PaddingDecaysTheState),
        r"in pieces of \[1, 79\] .* first at \[\d, 1, \d\]",
    ),
    (
        "builds",
        plugin(HalfWidth),
        r"HalfWidth.parallel_forward returned \[2, 3, 4\] .* for an input of \[2, 3, 8\]",
    ),
    ("builds", plugin(OutputAlone), r"OutputAlone.step returned Tensor; it must return a tuple \(y, state\)"),
    (
        "step_equals_parallel",
        plugin(NoGradients),
        r"gradient of initial state 0.memory: .* first at \[0, 0, 0, 0\]",
    ),
]
