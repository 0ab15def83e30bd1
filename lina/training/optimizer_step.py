"""Optimizer step: gradient clipping, parameter update, update of the exponential moving average (EMA)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.runs.shards import whole
from lina.training.cuda_graph import CapturedFunction
from lina.training.finite_steps import step_if_finite
from lina.training.optimizer import MovingAverage


class OptimizerStep:
    """Clip, update, average; with ``train.cuda_graph`` as one captured graph, for which the host does not wait."""

    def __init__(
        self,
        spec: TrainSection,
        model: DelayLM,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        device: torch.device,
    ) -> None:
        self.spec, self.model, self.optimizer, self.average = spec, model, optimizer, average
        self.captured: CapturedFunction[Tensor] | None = None
        # Only PyTorch's own fused optimizers can skip a step by a flag on the device.
        fused = isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]
        if spec.cuda_graph and device.type == "cuda" and fused:
            for group in optimizer.param_groups:
                group["capturable"] = True
            self.captured = CapturedFunction(self._on_device, (), device)

    def __call__(
        self, loss: Float[Tensor, ""], rate: float, step: int, largest: float = math.inf
    ) -> Float[Tensor, ""]:
        """Return the norm of the gradients; leave everything unchanged if that or the loss is not finite.

        ``finish`` comes after it, once the host knows.

        Args:
            rate: the learning rate.
            step: from 1.
            largest: norm above which the step is not applied either.
        """
        if self.captured is not None:
            keep = self.average.decay_of(step) if self.average else 0.0
            return self.captured(loss, *map(torch.tensor, (rate, 1.0 - keep, largest)))
        norm = whole(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip))
        finite = loss.isfinite() & norm.isfinite() & (norm <= largest)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_if_finite(self.optimizer, finite)
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def finish(self, step: int, applied: bool) -> None:
        """Average in the weights of a step that was applied, where no captured one has done so."""
        if applied and self.average is not None and self.captured is None:
            self.average.update(self.model, step)

    def _on_device(
        self,
        loss: Float[Tensor, ""],
        rate: Float[Tensor, ""],
        weight: Float[Tensor, ""],
        largest: Float[Tensor, ""],
    ) -> Float[Tensor, ""]:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        finite = loss.isfinite() & norm.isfinite() & (norm <= largest)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_if_finite(self.optimizer, finite)
        if self.average is not None:
            self.average.move(self.model, weight * finite)
        return norm
