"""Validation: loss and accuracy over all held-out utterances, which several ranks share."""

from typing import Any

import torch

from lina.data.collate import KEEP_ALL
from lina.data.training_data import TrainingData
from lina.training.backward import BackwardPass
from lina.training.micro_batches import make_micro_batch
from lina.training.process_group import ProcessGroup
from lina.training.step_numbers import accuracies


@torch.no_grad()
def validation_metrics(
    backward: BackwardPass,
    data: TrainingData,
    batch_seconds: float,
    precision: torch.dtype,
    group: ProcessGroup,
) -> dict[str, Any]:
    """Loss and accuracy (one per codebook) of a model in evaluation mode, in micro-batches of ``batch_seconds``."""
    books = len(backward.objective.model.codebook_sizes)
    numbers = torch.zeros(1 + 2 * books, dtype=torch.float64, device=backward.device)
    generator = torch.Generator().manual_seed(0)
    planned = data.plan(data.valid, batch_seconds, 0).batches(0)
    for first in range(0, len(planned), group.size):
        place = first + group.rank
        rows = [[data.valid[i]] for i in planned[place % len(planned)]]
        measured = backward.measure(make_micro_batch(data, rows, KEEP_ALL, generator), precision)
        loss = measured.loss.double() * measured.n_targets.sum()
        if place < len(planned):  # else computed once more, to gather weights with the others
            numbers += torch.cat([loss[None], measured.n_correct, measured.n_targets])
    total, n_correct, n_targets = group.all_reduce(numbers).split([1, books, books])
    return {"loss": float(total) / int(n_targets.sum()), "accuracy": accuracies(n_correct, n_targets)}
