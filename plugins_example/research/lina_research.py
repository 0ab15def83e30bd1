"""A loss, a schedule and a hook for experiments: a spec names each by its name, with its options."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lina import hookimpl
from lina.core import LossPlugin, PluginConfig, Schedule, SchedulePlugin


class SlowConfig(PluginConfig):
    weight: float = 0.01


class Slow(LossPlugin):
    """Cross-entropy, and the distance of neighboring hidden states (Merity et al. 2017, arXiv 1708.01009)."""

    Config = SlowConfig

    @classmethod
    def build(cls, *, config: SlowConfig) -> Any:
        def loss(hidden: Tensor, logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
            masked = targets.masked_fill(~loss_mask, -100)
            jumps = (hidden[:, 1:] - hidden[:, :-1]).float().square().mean()
            return F.cross_entropy(logits.flatten(0, 2), masked.flatten()) + config.weight * jumps

        return loss

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": cls.Config()}


class InverseRoot(SchedulePlugin):
    """Falls with the square root of the step after the warm-up (Vaswani et al. 2017, arXiv 1706.03762)."""

    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        first = max(1, warmup)
        return lambda step: min(step / first, max(floor, (first / step) ** 0.5))

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"steps": 20, "warmup": 4, "floor": 0.1, "config": cls.Config()}


class Norms:
    """Norm of the gradients of each half of the backbone, in the metrics of the runs that name this hook."""

    class Config(PluginConfig):
        every: int = 1

    def __init__(self, config: Any) -> None:
        self.every = config.every

    @hookimpl
    def step_metrics(self, step: int, model: Any) -> dict[str, float]:
        def norm(half: Any) -> float:
            return float(
                torch.nn.utils.get_total_norm([one.grad for one in half.parameters() if one.grad is not None])
            )

        return (
            {}
            if step % self.every
            else {"norm_before_text": norm(model.encoder), "norm_after_text": norm(model.decoder)}
        )
