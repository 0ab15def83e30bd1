"""The optimiser, its schedule, and the moving average of the weights."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lina.core.errors import SpecError, did_you_mean


def adamw(groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float) -> Any:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": adamw}
"""By name, as in ``train.optimizer`` of a spec; hooks may add more."""


def choose(kind: str, name: str, own: Mapping[str, Any], offered: Iterable[Mapping[str, Any]]) -> Any:
    """``name`` among ours and what hook plugins offer.

    Raises:
        SpecError: nobody offers it.
    """
    known = {key: value for more in [*offered, own] for key, value in more.items()}
    if name not in known:
        raise SpecError(f"train.{kind}: unknown {kind} {name!r}{did_you_mean(name, known)}")
    return known[name]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, gains and other vectors do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.dim() >= 2]
    vectors = [parameter for parameter in parameters if parameter.dim() < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, floor: float) -> float:
    """Rate of step ``step`` (the first is 1): linear up over ``warmup`` steps, then a cosine to ``floor * peak``."""
    if step <= warmup:
        return peak * step / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


class MovingAverage:
    """An exponential moving average of a model's parameters, kept in their dtype."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        torch._foreach_lerp_(
            list(self.average.values()), [value.detach() for value in model.parameters()], 1.0 - self.decay
        )

    def load(self, average: Mapping[str, Tensor]) -> None:
        for name, value in self.average.items():
            value.copy_(average[name])
