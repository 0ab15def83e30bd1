"""Numbers of a step that ranks exchange, and the accuracies among them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lina.training.objective import StepMeasures


def step_numbers(
    measures: Sequence[StepMeasures], shares: Sequence[float], frames: int, stopping: bool
) -> Tensor:
    """Sums over a step's micro-batches: three weighed losses, frames, a request to stop, correct and all targets."""
    rows = [
        torch.cat(
            [
                torch.stack([one.loss, one.guided_attention_loss, one.auxiliary_loss]).double() * share,
                one.n_correct.double(),
                one.n_targets.double(),
            ]
        )
        for one, share in zip(measures, shares, strict=True)
    ]
    sums = torch.stack(rows).sum(dim=0)
    here = [torch.full_like(sums[:1], one) for one in (frames, stopping)]
    return torch.cat([sums[:3], *here, sums[3:]])


def accuracies(n_correct: Tensor, n_targets: Tensor) -> list[float]:
    """Share of right predictions per codebook."""
    return [round(share, 6) for share in (n_correct / n_targets.clamp(min=1)).tolist()]
