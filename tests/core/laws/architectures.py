"""Right backbones of other people's architectures, as their authors would write plugins of them: all laws pass.

Each cites its paper. They are small, and in the plainest form that is linear in time.
"""

import math
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lina.core import (
    Backbone,
    BackbonePlugin,
    MixerPlugin,
    MixerStack,
    PluginConfig,
    causal_convolution,
    causal_convolution_step,
    gated_delta_rule,
    gated_delta_rule_step,
    gated_linear_attention,
    gated_linear_attention_step,
)
from lina.core.registry import load

CHUNK = 16


def decayed_sum(log_decay: Tensor, value: Tensor, memory: Tensor) -> Tensor:
    """memory_t = exp(log_decay_t) memory_{t-1} + value_t at each frame: [B, T, C] from memory [B, C]."""
    sums = []
    for log_a, v in zip(log_decay.split(CHUNK, 1), value.split(CHUNK, 1), strict=True):
        frames = log_a.shape[1]
        square = torch.ones(frames, frames, dtype=torch.bool, device=v.device)
        segments = torch.where(square.tril(-1)[None, :, :, None], log_a[:, :, None], 0.0).cumsum(1)
        decays = segments.masked_fill(~square.tril()[None, :, :, None], -torch.inf).exp()
        sums.append((decays * v[:, None]).sum(2) + log_a.cumsum(1).exp() * memory[:, None])
        memory = sums[-1][:, -1]
    return torch.cat(sums, dim=1)


def decayed_sum_step(log_decay: Tensor, value: Tensor, memory: Tensor) -> Tensor:
    return log_decay.exp() * memory + value


def zeros(like: Tensor, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)


class Memory(NamedTuple):
    memory: Tensor


class Diagonal(nn.Module):
    """Base of mixers whose recurrence is a decayed sum per channel."""

    width: int
    out: nn.Linear

    def initial_state(self, batch: int) -> Memory:
        return Memory(zeros(self.out.weight, batch, self.width))

    def gates(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Log-decay and value of each frame."""
        raise NotImplementedError

    def read(self, sums: Tensor, x: Tensor) -> Tensor:
        y: Tensor = self.out(sums.to(x.dtype))
        return y

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        with torch.autocast(x.device.type, enabled=False):
            sums = decayed_sum(*self.gates(x, state.memory.dtype), state.memory)
        return self.read(sums, x), Memory(sums[:, -1].clone())

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        with torch.autocast(x.device.type, enabled=False):
            memory = decayed_sum_step(*self.gates(x, state.memory.dtype), state.memory)
        return self.read(memory, x), Memory(memory)


class MinGRU(Diagonal):
    """Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.width = d_model
        self.update, self.candidate, self.out = (nn.Linear(d_model, d_model) for _ in range(3))

    def gates(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        update = self.update(x).to(dtype)
        return F.logsigmoid(-update), torch.sigmoid(update) * self.candidate(x).to(dtype)


class MovingAverage(Diagonal):
    """Multi-dimensional damped EMA of Mega, Ma et al. 2022, arXiv 2209.10655, eq. 1 and 2."""

    def __init__(self, d_model: int, dimensions: int = 2) -> None:
        super().__init__()
        self.width = d_model * dimensions
        self.expand, self.project, self.rate, self.damping = (
            nn.Parameter(torch.randn(self.width)) for _ in range(4)
        )
        self.out = nn.Linear(d_model, d_model)

    def gates(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        rate, damping = (torch.sigmoid(one.to(dtype)) for one in (self.rate, self.damping))
        value = x.to(dtype).repeat_interleave(self.width // x.shape[-1], dim=-1)
        log_decay = torch.log1p(-rate * damping)
        return log_decay.expand_as(value), rate * self.expand.to(dtype) * value

    def read(self, sums: Tensor, x: Tensor) -> Tensor:
        y: Tensor = (sums * self.project.to(sums.dtype)).unflatten(-1, (x.shape[-1], -1)).sum(-1)
        return F.silu(self.out(y.to(x.dtype)))


class ConvState(NamedTuple):
    tail: Tensor
    memory: Tensor


class RGLRU(nn.Module):
    """Recurrent block of Griffin, De et al. 2024, arXiv 2402.19427, eq. 1 to 4: convolution, then the RG-LRU."""

    taps = 4

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.branch, self.gate, self.recurrence_gate, self.input_gate, self.out = (
            nn.Linear(d_model, d_model) for _ in range(5)
        )
        self.conv = nn.Conv1d(d_model, d_model, self.taps, groups=d_model)
        decay = torch.empty(d_model).uniform_(0.9, 0.999)
        self.rate = nn.Parameter(torch.log(torch.expm1(-decay.log() / 8)))

    def initial_state(self, batch: int) -> ConvState:
        width = self.rate.numel()
        return ConvState(zeros(self.rate, batch, self.taps - 1, width), zeros(self.rate, batch, width))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype, weight = x.dtype, self.gate.weight.dtype
        recurrent, entering = (
            torch.sigmoid(gate(x.to(weight)).to(dtype)) for gate in (self.recurrence_gate, self.input_gate)
        )
        log_decay = -8 * F.softplus(self.rate.to(dtype)) * recurrent
        return log_decay, torch.sqrt(-torch.expm1(2 * log_decay) + 1e-12) * entering * x

    def taps_of(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        assert self.conv.bias is not None
        return self.conv.weight.to(dtype), self.conv.bias.to(dtype)

    def parallel_forward(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        branch = self.branch(x).to(state.memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            mixed, tail = causal_convolution(branch, *self.taps_of(branch.dtype), state.tail)
            sums = decayed_sum(*self.gates(mixed), state.memory)
        return self.output(sums, x), ConvState(tail, sums[:, -1].clone())

    def step(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        branch = self.branch(x).to(state.memory.dtype)
        with torch.autocast(x.device.type, enabled=False):
            mixed, tail = causal_convolution_step(branch, *self.taps_of(branch.dtype), state.tail)
            memory = decayed_sum_step(*self.gates(mixed), state.memory)
        return self.output(memory, x), ConvState(tail, memory)

    def output(self, sums: Tensor, x: Tensor) -> Tensor:
        y: Tensor = self.out(sums.to(x.dtype) * F.gelu(self.gate(x)))
        return y


class SlotState(NamedTuple):
    keys: Tensor
    values: Tensor


class GatedSlotAttention(nn.Module):
    """Zhang et al. 2024, arXiv 2409.07146, eq. 7: two gated recurrences over slots, a softmax between them."""

    slots = 4

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.width = d_model
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.forget = nn.Linear(d_model, self.slots)

    def initial_state(self, batch: int) -> SlotState:
        weight = self.out.weight
        return SlotState(*(zeros(weight, batch, self.slots * self.width) for _ in range(2)))

    def mix(self, x: Tensor, state: SlotState, recurrence: Any) -> tuple[Tensor, SlotState]:
        query, key, value, forget = (
            project(x).to(state.keys.dtype) for project in (self.query, self.key, self.value, self.forget)
        )
        with torch.autocast(x.device.type, enabled=False):
            log_decay = F.logsigmoid(forget)[..., None].expand(*forget.shape, self.width).flatten(-2)
            write = torch.sigmoid(-forget)[..., None]
            keys = recurrence(log_decay, (write * key[..., None, :]).flatten(-2), state.keys)
            values = recurrence(log_decay, (write * value[..., None, :]).flatten(-2), state.values)
            scores = (keys.unflatten(-1, (self.slots, -1)) @ query[..., None])[..., 0]
            weights = torch.softmax(scores * self.width**-0.5, dim=-1)
            read = (weights[..., None, :] @ values.unflatten(-1, (self.slots, -1)))[..., 0, :]
        return self.out(F.silu(read.to(x.dtype))), SlotState(keys, values)

    def parallel_forward(self, x: Tensor, state: SlotState) -> tuple[Tensor, SlotState]:
        y, states = self.mix(x, state, decayed_sum)
        return y, SlotState(*(one[:, -1].clone() for one in states))

    def step(self, x: Tensor, state: SlotState) -> tuple[Tensor, SlotState]:
        return self.mix(x, state, decayed_sum_step)

    def extreme(self) -> None:
        """Forget gates from shut to open; scores keep their size, since a hard softmax makes rounding visible."""
        with torch.no_grad():
            self.forget.bias.copy_(torch.linspace(-12, 12, self.slots))


class ComplexDiagonal(nn.Module):
    """Linear Recurrent Unit, Orvieto et al. 2023, arXiv 2303.06349; its complex state is held as pairs of reals."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        magnitude = torch.empty(d_model).uniform_(0.8, 0.99)
        self.log_rate = nn.Parameter(torch.log(-magnitude.log()))
        self.phase = nn.Parameter(torch.empty(d_model).uniform_(0, math.pi / 4))
        self.enter, self.out = nn.Linear(d_model, 2 * d_model), nn.Linear(2 * d_model, d_model)

    def initial_state(self, batch: int) -> Memory:
        return Memory(zeros(self.phase, batch, self.phase.numel(), 2))

    def exponent(self, dtype: torch.dtype) -> Tensor:
        return torch.complex(-self.log_rate.to(dtype).exp(), self.phase.to(dtype))

    def value(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return torch.view_as_complex(self.enter(x).to(dtype).unflatten(-1, (-1, 2)).contiguous())

    def read(self, sums: Tensor, x: Tensor) -> Tensor:
        y: Tensor = self.out(torch.view_as_real(sums).flatten(-2).to(x.dtype))
        return y

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        value, exponent = self.value(x, state.memory.dtype), self.exponent(state.memory.dtype)
        memory, sums = torch.view_as_complex(state.memory), []
        for v in value.split(CHUNK, 1):
            ages = torch.arange(v.shape[1], device=x.device)
            lag = ages[:, None] - ages
            powers = torch.where((lag >= 0)[..., None], (lag.clamp_min(0)[..., None] * exponent).exp(), 0)
            decayed = ((ages[:, None] + 1) * exponent).exp() * memory[:, None]
            sums.append((powers * v[:, None]).sum(2) + decayed)
            memory = sums[-1][:, -1]
        return self.read(torch.cat(sums, dim=1), x), Memory(torch.view_as_real(memory).clone())

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        value, exponent = self.value(x, state.memory.dtype), self.exponent(state.memory.dtype)
        memory = exponent.exp() * torch.view_as_complex(state.memory) + value
        return self.read(memory, x), Memory(torch.view_as_real(memory))


class FeatureMapAttention(nn.Module):
    """Base of normalized linear attentions: positive features of queries and keys, and a sum of keys."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.width = d_model
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.n_features = self.features(torch.zeros(d_model)).numel()

    def features(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def initial_state(self, batch: int) -> Memory:
        return Memory(zeros(self.out.weight, batch, 1, self.n_features, self.width + 1))

    def mix(self, x: Tensor, state: Memory, operator: Any) -> tuple[Tensor, Memory]:
        dtype = state.memory.dtype
        with torch.autocast(x.device.type, enabled=False):
            query, key = (self.features(project(x).to(dtype)) for project in (self.query, self.key))
            value = F.pad(self.value(x).to(dtype), (0, 1), value=1.0)  # the last channel sums the keys
            sums, memory = operator(
                *(one.unsqueeze(-2) for one in (query, key, value, torch.zeros_like(key))), state.memory, 1.0
            )
        read = (sums[..., 0, :-1] / (sums[..., 0, -1:] + 1e-6)).to(x.dtype)
        return self.out(read), Memory(memory)

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        return self.mix(x, state, gated_linear_attention)

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        return self.mix(x, state, gated_linear_attention_step)

    def extreme(self) -> None:
        """There are no gates."""


class LinearTransformer(FeatureMapAttention):
    """Katharopoulos et al. 2020, arXiv 2006.16236: elu(x) + 1."""

    def features(self, x: Tensor) -> Tensor:
        return F.elu(x) + 1


class Based(FeatureMapAttention):
    """Arora et al. 2024, arXiv 2402.18668: the Taylor series of the exponential to second order."""

    def features(self, x: Tensor) -> Tensor:
        x = x * x.shape[-1] ** -0.25
        second = (x[..., :, None] * x[..., None, :]).flatten(-2) * 2**-0.5
        return torch.cat([torch.ones_like(x[..., :1]), x, second], dim=-1)


class DeltaNet(nn.Module):
    """Yang et al. 2024, arXiv 2406.06484: the delta rule with unit keys."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(d_model, d_model) for _ in range(4))
        self.beta = nn.Linear(d_model, 1)

    def initial_state(self, batch: int) -> Memory:
        width = self.out.in_features
        return Memory(zeros(self.out.weight, batch, 1, width, width))

    def mix(self, x: Tensor, state: Memory, operator: Any) -> tuple[Tensor, Memory]:
        query, key, value, beta = (
            project(x).to(state.memory.dtype) for project in (self.query, self.key, self.value, self.beta)
        )
        with torch.autocast(x.device.type, enabled=False):
            query, key = (F.normalize(F.silu(one), dim=-1) for one in (query, key))
            rate = torch.sigmoid(beta)
            heads = (one.unsqueeze(-2) for one in (query, key, value))
            out, memory = operator(*heads, rate, torch.zeros_like(rate)[..., None], state.memory, 1.0)
        return self.out(out[..., 0, :].to(x.dtype)), Memory(memory)

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        return self.mix(x, state, gated_delta_rule)

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        return self.mix(x, state, gated_delta_rule_step)

    def extreme(self) -> None:
        """Writing strengths near 0 and near 1."""
        with torch.no_grad():
            self.beta.weight.mul_(30)


class QRNN(nn.Module):
    """Bradbury et al. 2016, arXiv 1611.01576: a convolution of width 2 gives the gates of fo-pooling."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.now, self.before = (nn.Linear(d_model, 3 * d_model) for _ in range(2))

    def initial_state(self, batch: int) -> ConvState:
        width = self.now.in_features
        return ConvState(*(zeros(self.now.weight, batch, width) for _ in range(2)))

    def gates(self, x: Tensor, earlier: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        mixed = (self.now(x) + self.before(earlier.to(x.dtype))).to(dtype)
        candidate, forget, out = mixed.chunk(3, dim=-1)
        return F.logsigmoid(forget), torch.sigmoid(-forget) * torch.tanh(candidate), torch.sigmoid(out)

    def parallel_forward(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        dtype = state.memory.dtype
        shifted = torch.cat([state.tail[:, None], x[:, :-1].to(dtype)], dim=1)
        log_decay, value, out = self.gates(x, shifted, dtype)
        sums = decayed_sum(log_decay, value, state.memory)
        return (out * sums).to(x.dtype), ConvState(x[:, -1].to(dtype).clone(), sums[:, -1].clone())

    def step(self, x: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        dtype = state.memory.dtype
        log_decay, value, out = self.gates(x, state.tail, dtype)
        memory = decayed_sum_step(log_decay, value, state.memory)
        return (out * memory).to(x.dtype), ConvState(x.to(dtype).clone(), memory)


class Recent(NamedTuple):
    frames: Tensor


class DilatedConvolution(nn.Module):
    """A gated layer of WaveNet, van den Oord et al. 2016, arXiv 1609.03499; its state is the last inputs."""

    def __init__(self, d_model: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(d_model, 2 * d_model, 2, dilation=dilation)

    def initial_state(self, batch: int) -> Recent:
        return Recent(zeros(self.conv.weight, batch, self.conv.dilation[0], self.conv.in_channels))

    def parallel_forward(self, x: Tensor, state: Recent) -> tuple[Tensor, Recent]:
        joined = torch.cat([state.frames, x.to(state.frames.dtype)], dim=1)
        value, gate = (
            self.conv(joined.to(self.conv.weight.dtype).transpose(1, 2)).transpose(1, 2).chunk(2, -1)
        )
        recent = joined[:, -state.frames.shape[1] :].clone()
        return (torch.tanh(value) * torch.sigmoid(gate)).to(x.dtype), Recent(recent)

    def step(self, x: Tensor, state: Recent) -> tuple[Tensor, Recent]:
        y, after = self.parallel_forward(x[:, None], state)
        return y[:, 0], after


class GRU(nn.Module):
    """Cho et al. 2014, arXiv 1406.1078: one call of the library over all frames, although its kernel loops."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, batch_first=True)

    def initial_state(self, batch: int) -> Memory:
        return Memory(zeros(next(self.parameters()), batch, self.gru.hidden_size))

    def parallel_forward(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        own = next(self.parameters()).dtype
        with torch.autocast(x.device.type, enabled=False):
            y, last = self.gru(x.to(own), state.memory[None].to(own))
        return y.to(x.dtype), Memory(last[0].to(state.memory.dtype))

    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        y, after = self.parallel_forward(x[:, None], state)
        return y[:, 0], after


class Mixed(MixerPlugin):
    """Plugin of one of the mixers above."""

    Mixer: ClassVar[type[nn.Module]]

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 8, "n_layers": 2, "config": PluginConfig()}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
        mixer: Any = cls.Mixer(d_model)
        return mixer  # type: ignore[no-any-return]


class WaveNet(MixerPlugin):
    """Layers of convolutions, the dilation doubling."""

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 8, "n_layers": 4, "config": PluginConfig()}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
        return DilatedConvolution(d_model, 2**layer)


class GLAWithAttention(MixerPlugin):
    """Every second layer is sliding-window attention, the others GLA: mixers of two installed plugins."""

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 16, "n_layers": 2, "config": PluginConfig()}

    @classmethod
    def mixer(cls, *, d_model: int, layer: int, n_layers: int, config: Any) -> Backbone:
        part: Any = load("backbone", "transformer" if layer % 2 else "gla")
        own = part.example()["config"]
        mixer: Backbone = part.mixer(d_model=d_model, layer=layer, n_layers=n_layers, config=own)
        return mixer


class Griffin(BackbonePlugin):
    """Two recurrent blocks to one of local attention, as in the paper of the RG-LRU."""

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"d_model": 16, "n_layers": 3, "config": PluginConfig()}

    @classmethod
    def build(cls, *, d_model: int, n_layers: int, config: Any) -> Backbone:
        attention: Any = load("backbone", "transformer")
        own = attention.example()["config"]
        mixers: list[Any] = [
            attention.mixer(d_model=d_model, layer=layer, n_layers=n_layers, config=own)
            if layer % 3 == 2
            else RGLRU(d_model)
            for layer in range(n_layers)
        ]
        return MixerStack(mixers, lambda: nn.RMSNorm(d_model))


def plugin(mixer: type[nn.Module]) -> type[BackbonePlugin]:
    return type(mixer.__name__, (Mixed,), {"Mixer": mixer})


ARCHITECTURES: list[type[BackbonePlugin]] = [
    *map(plugin, (RGLRU, GatedSlotAttention, MinGRU, MovingAverage, ComplexDiagonal)),
    *map(plugin, (LinearTransformer, Based, DeltaNet, QRNN, GRU)),
    WaveNet,
    GLAWithAttention,
    Griffin,
]
