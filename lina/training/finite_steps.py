"""The rule for training steps whose loss or gradient is not finite, for both jobs.

Such a step is not applied: weights, moments, averages and codebooks stay as they are, while the step counter and the
learning rate schedule advance. It is logged, and ``LIMIT`` of them in a row end the training.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from lina.core.errors import DataError
from lina.runs.shards import is_sharded

LIMIT = 10
NAMED = 8
"""Utterances of a step in its message, at most."""

log = logging.getLogger("lina")


def step_if_finite(optimizer: torch.optim.Optimizer, finite: Bool[Tensor, ""]) -> None:
    """Step the optimizer unless ``finite`` is false. Waits for the device, but for PyTorch's fused AdamW.

    That reads the flag on the device, of parameters that are not sharded.
    """
    fused = isinstance(optimizer, torch.optim.AdamW) and optimizer.defaults["fused"]
    if fused and not any(is_sharded(one) for one in optimizer.param_groups[0]["params"][:1]):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif bool(finite):
        optimizer.step()


def some_of(ids: Sequence[str]) -> str:
    """The first utterances of a step, for its message."""
    return f"{', '.join(ids[:NAMED])}{' …' if len(ids) > NAMED else ''}"


class SkippedSteps:
    """Counts the steps that were not applied, on ``device``, and brings nothing back from there before ``report``."""

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(4, dtype=torch.float64, device=device)
        """Since the last report: how many, the first one's number, how many in a row at the end, and at most."""
        self.total = 0

    def add(self, step: int, finite: Bool[Tensor, ""]) -> None:
        count, first, row, longest = self.counts.unbind()
        first = torch.where(finite | (count > 0), first, float(step))
        row = torch.where(finite, 0.0, row + 1)
        self.counts = torch.stack([count + ~finite, first, row, torch.maximum(longest, row)])

    def report(
        self,
        utterances: Callable[[int], Sequence[str]],
        detail: str = "",
        cause: str = "the loss or a gradient is not finite",
    ) -> None:
        """Log the steps that were not applied since the last call. ``utterances(step)``: the ids of a step's batch.

        Raises:
            DataError: there were ``LIMIT`` in a row.
        """
        count, first, row, longest = map(int, self.counts.tolist())
        if not count:
            return
        self.counts = self.counts.new_tensor([0, 0, row, row])
        self.total += count
        ids = utterances(first)
        of = some_of(ids)
        if longest >= LIMIT:
            raise DataError(
                f"train: {longest} steps in a row were not applied, because {cause}"
                f"{detail}; the weights are those of before; start a run of another name with a lower train.lr, or "
                f"look at these utterances of step {first}: {of}"
            )
        which = f"step {first} was" if count == 1 else f"{count} steps from step {first} on were"
        log.warning(
            f"train: {which} not applied, because {cause}{detail}; "
            f"utterances of step {first}: {of}; {self.total} not applied since this start"
        )
