"""Contents of a speech model's checkpoint, in a directory of ``lina.runs.checkpoint_store``.

model.safetensors       weights
average.safetensors     their moving average, if one is kept
optimizer.safetensors   tensors of the optimizer: ``parameter|name``
optimizer.json          its other values
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError, PluginError
from lina.core.model.lora import is_adapted, merged
from lina.runs.checkpoint_store import (
    AVERAGE,
    FORMAT,
    MODEL,
    Checkpoint,
    commit_checkpoint,
    read_safetensors,
    seal,
    storable,
)
from lina.runs.weight_quantization import AS_TRAINED, unpack

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
    """File of the averaged or the raw weights, and whether it holds averaged ones."""
    averaged = average and (checkpoint.path / AVERAGE).exists()
    return checkpoint.path / (AVERAGE if averaged else MODEL), averaged


def read_weights(checkpoint: Checkpoint, average: bool) -> dict[str, Tensor]:
    """Weights by name, with LoRA matrices merged into their targets; ``average`` as in ``load_weights``."""
    return merged(_read(weights_file(checkpoint, average)[0], checkpoint.layout))


def load_weights(model: nn.Module, checkpoint: Checkpoint, average: bool, *, assign: bool = False) -> None:
    """Load the weights, or their moving average if there is one and ``average`` is true.

    LoRA matrices are merged if the model has none, so that inference is not slower. ``assign``: the model takes
    the tensors themselves for its own, which nothing may refer to yet, instead of copying their values.

    Raises:
        CheckpointError: they are another model's; the message names the first difference.
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
    """Restore the optimizer's state.

    Raises:
        CheckpointError: it is another model's or another optimizer's.
    """
    path = checkpoint.path / OPTIMIZER
    try:
        numbers = json.loads((checkpoint.path / NUMBERS).read_bytes())
        restore_optimizer(model, optimizer, read_safetensors(path), numbers)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: does not fit the spec's optimizer: {error}") from None


def load_average(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Averaged weights by name."""
    return read_safetensors(checkpoint.path / AVERAGE)


def _read(path: Path, layout: str) -> dict[str, Tensor]:
    try:
        return unpack(read_safetensors(path), layout)
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
    """Write and sync all files; return the SHA-256 of each."""
    moments, numbers = optimizer_state(model, optimizer)
    files: dict[str, Mapping[str, Tensor]] = {MODEL: model.state_dict(), OPTIMIZER: moments}
    if average is not None:
        files[AVERAGE] = average
    for name, tensors in files.items():
        save_file(storable(tensors), temporary / name)
    (temporary / NUMBERS).write_text(json.dumps(numbers, indent=1) + "\n")
    return seal(temporary, facts, (*files, NUMBERS))


def optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that an optimizer remembers: tensors as ``parameter|name``, and numbers as a value JSON can hold.

    Raises:
        PluginError: it remembers something else, which no checkpoint can hold.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{names[parameter]}|{key}"] = value
            elif value is None or isinstance(value, bool | int | float | str):
                numbers[f"{names[parameter]}|{key}"] = value
            else:
                raise PluginError(
                    f"train.optimizer: {type(optimizer).__name__} keeps a {type(value).__name__} in {key!r}; "
                    "a checkpoint holds tensors and numbers only"
                )
    groups = [
        {key: value for key, value in one.items() if _is_number(value)} for one in optimizer.param_groups
    ]
    return tensors, {"state": numbers, "groups": groups}


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: dict[str, Any]
) -> None:
    """Undo ``optimizer_state``; PyTorch puts each tensor where its parameter's device and kernel want it.

    Raises:
        KeyError, ValueError: it is another model's or another optimizer's.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    places = {name: place for place, name in enumerate(order)}
    state: dict[int, dict[str, Any]] = {}
    for full, value in {**tensors, **numbers["state"]}.items():
        name, _, key = full.rpartition("|")
        state.setdefault(places[name], {})[key] = value
    plain = optimizer.state_dict()
    groups = [one | stored for one, stored in zip(plain["param_groups"], numbers["groups"], strict=True)]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
