"""Optimizer, learning-rate schedule, and exponential moving average (EMA) of the weights."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.errors import SpecError, did_you_mean


def adamw(groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float) -> Any:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw}
"""Optimizers by their name in ``train.optimizer`` of a spec; hooks may add more."""


def lookup(kind: str, name: str, own: Mapping[str, Any], offered: Iterable[Mapping[str, Any]]) -> Any:
    """Look ``name`` up among built-in entries and those of hook plugins.

    Raises:
        SpecError: there is no entry of this name.
    """
    known = {key: value for more in [*offered, own] for key, value in more.items()}
    if name not in known:
        raise SpecError(f"train.{kind}: unknown {kind} {name!r}{did_you_mean(name, known)}")
    return known[name]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices named ``weight``; none for vectors (axes of size one aside) and everything else.

    RWKV's authors train so: their mixing factors, bonuses and low-rank decays have other names. Mamba's authors exclude
    the rates ``A_log``, which are no linear map.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in _trained(model):
        decays = ".weight" in f".{name}" and parameter.squeeze().dim() >= 2
        (matrices if decays else others).append(parameter)
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, floor: float) -> float:
    """Learning rate of ``step`` (from 1): linear warm-up over ``warmup`` steps, then cosine to ``floor * peak``."""
    if step <= warmup:
        return peak * step / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


class MovingAverage:
    """Exponential moving average of a model's trained parameters, in their dtype.

    The decay after n steps is min(decay, (1 + n) / (10 + n)): a constant decay would weigh the first weights for
    thousands of steps.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in _trained(model)}

    def decay_of(self, step: int) -> float:
        """Decay at step ``step`` (from 1)."""
        return min(self.decay, step / (step + 9))

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Average in the weights of step ``step`` (from 1)."""
        torch._foreach_lerp_(
            list(self.average.values()),
            [value.detach() for _, value in _trained(model)],
            1.0 - self.decay_of(step),
        )

    @torch.no_grad()
    def move(self, model: nn.Module, weight: Float[Tensor, ""]) -> None:
        """Update with a weight, 1 - decay, on the model's device, without a synchronization."""
        averages = list(self.average.values())
        apart = torch._foreach_sub([value.detach() for _, value in _trained(model)], averages)
        torch._foreach_mul_(apart, weight)
        torch._foreach_add_(averages, apart)

    def load(self, average: Mapping[str, Tensor]) -> None:
        """Restore the result of ``state``."""
        for name, value in self.average.items():
            value.copy_(average[name])

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's whole state dict with its parameters averaged; tied ones under each of their names."""
        averaged = {value: self.average[name] for name, value in _trained(model)}
        state: dict[str, Any] = model.state_dict(keep_vars=True)
        return {name: averaged.get(value, value) for name, value in state.items()}

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Swap the averaged weights into the model within the context; nothing is copied."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    def _swap(self, model: nn.Module) -> None:
        for name, value in _trained(model):
            value.data, self.average[name] = self.average[name], value.data


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]
