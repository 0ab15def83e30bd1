"""AdamW, parameter groups, and the exponential moving average (EMA) of the weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lina.core.training.plugin import OptimizerPlugin, ParameterGroups
from lina.runs.shards import is_sharded, local


def adamw(
    parameters: ParameterGroups, *, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), with weight decay for matrices and tables alone."""
    decaying = {"params": [*parameters.matrices, *parameters.tables], "weight_decay": weight_decay}
    groups = [decaying, {"params": parameters.others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


class AdamW(OptimizerPlugin):
    @classmethod
    def build(
        cls,
        *,
        parameters: ParameterGroups,
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        config: Any,
    ) -> torch.optim.Optimizer:
        return adamw(parameters, lr=lr, betas=betas, weight_decay=weight_decay)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**example_parameters(), "config": cls.Config()}


def example_parameters() -> dict[str, Any]:
    """Arguments of ``OptimizerPlugin.build`` for the laws, but for ``config``: one parameter of each kind."""
    shapes: dict[str, list[tuple[int, ...]]] = {
        "matrices": [(6, 4), (3, 1, 5)],
        "tables": [(7, 4)],
        "others": [(4,)],
    }
    parameters = {
        name: [nn.Parameter(torch.randn(shape)) for shape in several] for name, several in shapes.items()
    }
    return {
        "parameters": ParameterGroups(**parameters),
        "lr": 0.02,
        "betas": (0.9, 0.99),
        "weight_decay": 0.01,
    }


HEADS = "logits_head"
"""Module of the heads, whose matrix is a table of codes like those of the embeddings."""


def parameter_groups(model: nn.Module) -> ParameterGroups:
    """The trained parameters by their kind.

    Weight decay is for tensors named ``weight`` with two axes or more (axes of size one aside). RWKV's authors train
    so: their mixing factors, bonuses and low-rank decays have other names. Mamba's authors exclude the rates ``A_log``,
    which are no linear map.
    """
    groups = ParameterGroups([], [], [])
    tables = {
        parameter
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or name == HEADS
        for parameter in module.parameters()
    }
    for name, parameter in _trained(model):
        if ".weight" not in f".{name}" or parameter.squeeze().dim() < 2:
            groups.others.append(parameter)
        elif parameter in tables:
            groups.tables.append(parameter)
        else:
            groups.matrices.append(parameter)
    return groups


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
        averages = [local(value) for value in self.average.values()]
        values = [local(value.detach()) for _, value in _trained(model)]
        torch._foreach_lerp_(averages, values, 1.0 - self.decay_of(step))

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
            local(value).copy_(local(average[name]))

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's whole state dict with its parameters averaged; tied ones under each of their names."""
        averaged = {value: self.average[name] for name, value in _trained(model)}
        state: dict[str, Any] = model.state_dict(keep_vars=True)
        return {name: averaged.get(value, value) for name, value in state.items()}

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Swap the averaged weights into the model within the context; only shards are copied."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        for name, value in _trained(model):
            if not is_sharded(value):
                value.data, self.average[name] = self.average[name], value.data
                continue
            shard, other = local(value.detach()), local(self.average[name])
            kept = shard.clone()
            shard.copy_(other)
            other.copy_(kept)


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]
