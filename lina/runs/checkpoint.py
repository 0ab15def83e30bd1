"""What a checkpoint of the speech model holds, in a directory as ``lina.runs.checkpoint_store`` writes it.

model.safetensors       weights
average.safetensors     the same with their moving average, if one is kept
optimizer.safetensors   the optimiser's tensors: ``parameter|name``
optimizer.json          its numbers
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError
from lina.core.model.lora import is_adapted, merged
from lina.runs.checkpoint_store import (
    AVERAGE,
    FORMAT,
    MODEL,
    Checkpoint,
    commit_checkpoint,
    read_tensors,
    seal,
    storable,
)
from lina.runs.weight_quantization import AS_TRAINED, unpack
from lina.training.optimizer import optimizer_state, restore_optimizer

OPTIMIZER, NUMBERS = "optimizer.safetensors", "optimizer.json"


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    seconds: float,
    corpus: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
    keep: int,
    precision: str | None = None,
) -> Checkpoint:
    """Write ``folder/step-N``, as ``commit_checkpoint``.

    Raises:
        CheckpointError: the disk is full or refuses; the checkpoints that were there stay.
    """
    facts = {"format": FORMAT, "step": step, "seconds": round(seconds, 3), "corpus": corpus}
    facts |= {"precision": precision} if precision else {}
    final, sums = commit_checkpoint(
        folder, step, keep, lambda temporary: _write(temporary, facts, model, optimizer, average)
    )
    return Checkpoint(final, step, seconds, corpus, sums.get(AVERAGE) or sums[MODEL], precision)


def weights_file(checkpoint: Checkpoint, average: bool) -> tuple[Path, bool]:
    """The file of the weights that are asked for, and whether they are averaged ones."""
    averaged = average and (checkpoint.path / AVERAGE).exists()
    return checkpoint.path / (AVERAGE if averaged else MODEL), averaged


def read_weights(checkpoint: Checkpoint, average: bool) -> dict[str, Tensor]:
    """The weights by name, low-rank matrices merged into what they adapt; averaged ones as in ``load_weights``."""
    return merged(_read(weights_file(checkpoint, average)[0], checkpoint.layout))


def load_weights(model: nn.Module, checkpoint: Checkpoint, average: bool, *, assign: bool = False) -> None:
    """Load the weights, or their moving average where there is one and ``average`` asks for it.

    Low-rank matrices are merged where the model has none: it then speaks as fast as any. ``assign``: the model takes
    the tensors themselves for its own, which nothing may refer to yet, instead of copying their values.

    Raises:
        CheckpointError: they are another model's; the first difference is named.
    """
    path, _ = weights_file(checkpoint, average)
    own, tensors = model.state_dict(), _read(path, checkpoint.layout)
    if not is_adapted(own):
        tensors = merged(tensors)
    for name in sorted(own.keys() | tensors.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (own, tensors))
        if here != there:
            raise CheckpointError(
                f"{path}: {name} is {there}, but the spec's model has {here}; use the run's own spec"
            )
    model.load_state_dict(tensors, assign=assign)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Restore the moments.

    Raises:
        CheckpointError: they are another model's or another optimiser's.
    """
    path = checkpoint.path / OPTIMIZER
    try:
        numbers = json.loads((checkpoint.path / NUMBERS).read_bytes())
        restore_optimizer(model, optimizer, read_tensors(path), numbers)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: does not fit the spec's optimiser: {error}") from None


def load_average(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The averaged weights by name."""
    return read_tensors(checkpoint.path / AVERAGE)


def _read(path: Path, layout: str) -> dict[str, Tensor]:
    try:
        return unpack(read_tensors(path), layout)
    except CheckpointError as error:
        if layout == AS_TRAINED:
            raise
        raise CheckpointError(f"{path}: {error}") from None


def _write(
    temporary: Path,
    facts: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
) -> dict[str, str]:
    """Write and sync all files; the SHA-256 of each."""
    moments, numbers = optimizer_state(model, optimizer)
    files: dict[str, Mapping[str, Tensor]] = {MODEL: model.state_dict(), OPTIMIZER: moments}
    if average is not None:
        files[AVERAGE] = average
    for name, tensors in files.items():
        save_file(storable(tensors), temporary / name)
    (temporary / NUMBERS).write_text(json.dumps(numbers, indent=1) + "\n")
    return seal(temporary, facts, (*files, NUMBERS))
