"""Contents of a speech model's checkpoint, in a directory of ``lina.runs.checkpoint_store``.

model.safetensors       weights
average.safetensors     their moving average, if one is kept
optimizer.safetensors   tensors of the optimizer: ``parameter|name``
optimizer.json          its other values
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError, FileError
from lina.core.files.json_file import read_json
from lina.core.files.tensor_file import not_finite
from lina.core.model.lora import is_adapted, merged
from lina.runs.checkpoint_store import (
    AVERAGE,
    FORMAT,
    INDEX,
    MODEL,
    Checkpoint,
    commit_checkpoint,
    seal,
)
from lina.runs.optimizer_state import OptimizerNumbers, optimizer_state, restore_optimizer
from lina.runs.shards import scatter
from lina.runs.weight_files import read_safetensors, read_weights_file, storable, weight_shapes
from lina.runs.weight_quantization import AS_TRAINED, unpack

OPTIMIZER, NUMBERS = "optimizer.safetensors", "optimizer.json"
RESTORE = "use an earlier checkpoint, or restore the file"
STORED_DTYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
"""Of tensors in weights files as trained; the other layouts are converted to float32 at reading."""


_NUMBERS = TypeAdapter(OptimizerNumbers)


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
    norms: tuple[float, ...] = (),
) -> Checkpoint:
    """Write ``folder/step-N`` of a model that is not sharded, as ``save_tensors``."""
    content = checkpoint_content(model, optimizer, average)
    return save_tensors(
        folder,
        content,
        step=step,
        seconds=seconds,
        corpus=corpus,
        keep=keep,
        precision=precision,
        norms=norms,
    )


class CheckpointContent(NamedTuple):
    """Tensors by file and name, and the optimizer's numbers."""

    files: Mapping[str, Mapping[str, Tensor]]
    numbers: dict[str, Any]


def checkpoint_content(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Mapping[str, Tensor] | None
) -> CheckpointContent:
    """All that a checkpoint holds; tensors are those of the model and the optimizer, not copies."""
    moments, numbers = optimizer_state(model, optimizer)
    files: dict[str, Mapping[str, Tensor]] = {MODEL: model.state_dict(), OPTIMIZER: moments}
    if average is not None:
        files[AVERAGE] = average
    return CheckpointContent(files, numbers)


def save_tensors(
    folder: Path,
    content: CheckpointContent,
    *,
    step: int,
    seconds: float,
    corpus: str,
    keep: int,
    precision: str | None = None,
    norms: tuple[float, ...] = (),
) -> Checkpoint:
    """Write ``folder/step-N``, as ``commit_checkpoint``.

    Raises:
        CheckpointError: the disk is full or refuses; the checkpoints that were there stay.
    """
    facts = {"format": FORMAT, "step": step, "seconds": round(seconds, 3), "corpus": corpus}
    facts |= {"precision": precision} if precision else {}
    facts |= {"norms": norms} if norms else {}
    final, sums = commit_checkpoint(folder, step, keep, lambda temporary: _write(temporary, facts, content))
    return Checkpoint(final, step, seconds, corpus, sums.get(AVERAGE) or sums[MODEL], precision, norms=norms)


def weights_file(checkpoint: Checkpoint, average: bool) -> tuple[Path, bool]:
    """File of the averaged or the raw weights, and whether it holds averaged ones."""
    averaged = average and (checkpoint.path / AVERAGE).exists()
    name = INDEX if (checkpoint.path / INDEX).exists() else MODEL
    return checkpoint.path / (AVERAGE if averaged else name), averaged


def count_numbers(checkpoint: Checkpoint, average: bool) -> int:
    """Numbers in the weights file, by its header; ``average`` as in ``load_weights``.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path, _ = weights_file(checkpoint, average)
    try:
        return sum(math.prod(shape) for shape in weight_shapes(path).values())
    except (FileError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read: {getattr(error, 'reason', error)}") from None


def read_weights(checkpoint: Checkpoint, average: bool) -> dict[str, Tensor]:
    """Weights by name, with LoRA matrices merged into their targets; ``average`` as in ``load_weights``.

    Raises:
        CheckpointError: the file cannot be read, or a weight has another dtype, NaN or infinity.
    """
    path, _ = weights_file(checkpoint, average)
    tensors = _read(path, checkpoint.layout)
    for name, value in tensors.items():
        if value.dtype not in STORED_DTYPES:
            raise CheckpointError(
                f"{path}: {name} is {dtype_name(value)}, but weights are float32; {RESTORE}"
            )
    return _merged(path, tensors)


def load_weights(model: nn.Module, checkpoint: Checkpoint, average: bool, *, assign: bool = False) -> None:
    """Load the weights, or their moving average if there is one and ``average`` is true.

    LoRA matrices are merged if the model has none, so that inference is not slower. ``assign``: the model takes
    the tensors themselves for its own, which nothing may refer to yet, instead of copying their values.

    Raises:
        CheckpointError: they are another model's, or a number is not finite; the message names the first difference.
    """
    path, _ = weights_file(checkpoint, average)
    own, tensors = model.state_dict(), _read(path, checkpoint.layout)
    if not is_adapted(own):
        tensors = _merged(path, tensors)
    check_matching(path, tensors, own)
    model.load_state_dict(scatter(tensors, own), assign=assign)


def check_matching(path: Path, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Compare tensors of a file with those of the model or optimizer that they are for.

    Raises:
        CheckpointError: a name, shape or dtype differs, or a number is NaN or infinite; the message names the first.
    """
    for name in sorted(own.keys() | tensors.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (own, tensors))
        if here == there and own[name].dtype != tensors[name].dtype:
            here, there = dtype_name(own[name]), dtype_name(tensors[name])
        if here != there:
            raise CheckpointError(
                f"{path}: {name} is {there}, but the spec's model has {here}; use the run's own spec"
            )
    check_finite(path, tensors)


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse NaN and infinity.

    Raises:
        CheckpointError: the message names the first tensor.
    """
    if broken := not_finite(tensors):
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise CheckpointError(f"{path}: {broken[0]} holds NaN or infinity{more}; {RESTORE}")


def dtype_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Restore the optimizer's state.

    Raises:
        CheckpointError: it is another model's or another optimizer's.
    """
    path = checkpoint.path / OPTIMIZER
    try:
        numbers = read_json(checkpoint.path / NUMBERS, _NUMBERS, strict=False).model_dump()
    except FileError as error:
        raise CheckpointError(f"{error}; {RESTORE}") from None
    tensors = read_safetensors(path)
    check_finite(path, tensors)
    try:
        restore_optimizer(model, optimizer, tensors, numbers)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit the spec's optimizer: {error}") from None


def load_average(checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
    """Averaged weights by name, as they are for ``model``.

    Raises:
        CheckpointError: as ``load_weights``.
    """
    path = checkpoint.path / AVERAGE
    tensors = read_safetensors(path)
    own = model.state_dict()
    check_matching(path, tensors, own)
    return scatter(tensors, own)


def _merged(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    check_finite(path, tensors)
    try:
        return merged(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: its LoRA matrices do not fit their layers ({reason}); {RESTORE}"
        ) from None


def _read(path: Path, layout: str) -> dict[str, Tensor]:
    try:
        return unpack(read_weights_file(path), layout)
    except CheckpointError as error:
        if layout == AS_TRAINED:
            raise
        raise CheckpointError(f"{path}: {error}") from None


def _write(temporary: Path, facts: Mapping[str, Any], content: CheckpointContent) -> dict[str, str]:
    """Write and sync all files; return the SHA-256 of each."""
    for name, tensors in content.files.items():
        save_file(storable(tensors), temporary / name)
    (temporary / NUMBERS).write_text(json.dumps(content.numbers, indent=1) + "\n")
    return seal(temporary, facts, (*content.files, NUMBERS))
