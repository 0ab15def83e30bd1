"""What a step does with its gradients: clip them, step the optimiser, take the weights into their average."""

import torch
from jaxtyping import Float
from torch import Tensor

from lina.config.train_section import TrainSection
from lina.core.model.delay_lm import DelayLM
from lina.training.cuda_graph import Captured
from lina.training.finite_steps import step_if_finite
from lina.training.optimizer import MovingAverage


class Update:
    """On a GPU, where steps are captured, one graph: then nothing of it waits for the gradients to be there."""

    def __init__(
        self,
        spec: TrainSection,
        model: DelayLM,
        optimizer: torch.optim.Optimizer,
        average: MovingAverage | None,
        device: torch.device,
    ) -> None:
        self.spec, self.model, self.optimizer, self.average = spec, model, optimizer, average
        self.captured: Captured[Tensor] | None = None
        # Only PyTorch's own fused optimisers can leave out a step by what is on the device.
        fused = isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]
        if spec.cuda_graph and device.type == "cuda" and fused:
            for group in optimizer.param_groups:
                group["capturable"] = True
            self.captured = Captured(self._on_device, (), device)

    def __call__(self, loss: Float[Tensor, ""], rate: float, step: int) -> Float[Tensor, ""]:
        """Gives the norm of the gradients; nothing is changed where that or the loss is not finite.

        ``rate``: the learning rate. ``step``: the first is 1.
        """
        if self.captured is not None:
            keep = self.average.decay_of(step) if self.average else 0.0
            return self.captured(loss, torch.tensor(rate), torch.tensor(1.0 - keep))
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        finite = loss.isfinite() & norm.isfinite()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_if_finite(self.optimizer, finite)
        if self.average is not None and bool(finite):
            self.average.update(self.model, step)
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _on_device(
        self, loss: Float[Tensor, ""], rate: Float[Tensor, ""], weight: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip)
        finite = loss.isfinite() & norm.isfinite()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        step_if_finite(self.optimizer, finite)
        if self.average is not None:
            self.average.move(self.model, weight * finite)
        return norm
