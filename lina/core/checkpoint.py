"""Checkpoints: a directory of safetensors and JSON that is either complete or not there.

    checkpoints/step-00000800/
        model.safetensors       weights
        average.safetensors     their moving average, if one is kept
        optimizer.safetensors   the optimiser's moments
        checkpoint.json         format, step, and the SHA-256 of each file

Written under a temporary name, forced to disk, renamed. The newest one that is whole wins; a damaged one is named and
passed over. No pickle, and nothing in a checkpoint is ever executed.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError
from lina.core.files import sha256, sync_directory

FORMAT = 1
log = logging.getLogger("lina")


class Checkpoint(NamedTuple):
    path: Path
    step: int
    seconds: float
    """Time spent in training until here."""


def save_checkpoint(
    folder: Path,
    step: int,
    seconds: float,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None,
    keep: int,
) -> Path:
    """Write ``folder/step-N`` and remove the oldest ones beyond ``keep``."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover)
    final = folder / f"step-{step:08d}"
    temporary = folder / f".step-{step:08d}.{os.getpid()}"
    temporary.mkdir()
    try:
        files = {"model.safetensors": model.state_dict(), "optimizer.safetensors": _moments(model, optimizer)}
        if average is not None:
            files["average.safetensors"] = dict(average)
        for name, tensors in files.items():
            save_file(
                {key: value.detach().contiguous().cpu() for key, value in tensors.items()}, temporary / name
            )
            _sync(temporary / name)
        facts = {
            "format": FORMAT,
            "step": step,
            "seconds": round(seconds, 3),
            "sha256": {name: sha256(temporary / name) for name in files},
        }
        (temporary / "checkpoint.json").write_text(json.dumps(facts, indent=1) + "\n")
        _sync(temporary / "checkpoint.json")
        sync_directory(temporary)
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        sync_directory(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _steps(folder)[keep:]:
        shutil.rmtree(old)
    return final


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all what was written; damaged ones are reported and passed over."""
    for path in _steps(folder):
        try:
            return open_checkpoint(path)
        except CheckpointError as error:
            log.warning("%s; trying the one before", error)
    return None


def open_checkpoint(path: Path) -> Checkpoint:
    """Check every file of a checkpoint.

    Raises:
        CheckpointError: a file is missing or not what was written.
    """
    try:
        facts = json.loads((path / "checkpoint.json").read_bytes())
        version, step, seconds, sums = (
            facts["format"],
            int(facts["step"]),
            float(facts["seconds"]),
            facts["sha256"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: no readable checkpoint.json ({error})") from None
    if version != FORMAT:
        raise CheckpointError(f"{path}: is in format {version}, this lina reads format {FORMAT}")
    for name, expected in sums.items():
        try:
            found = sha256(path / name)
        except OSError:
            raise CheckpointError(f"{path / name}: is missing") from None
        if found != expected:
            raise CheckpointError(
                f"{path / name}: is damaged (its SHA-256 is not the one in checkpoint.json)"
            )
    return Checkpoint(path, step, seconds)


def load_weights(model: nn.Module, checkpoint: Checkpoint, average: bool) -> None:
    """Load the weights, or their moving average where there is one and ``average`` asks for it.

    Raises:
        CheckpointError: they are another model's; the first difference is named.
    """
    path = checkpoint.path / "average.safetensors"
    if not (average and path.exists()):
        path = checkpoint.path / "model.safetensors"
    tensors = _read(path)
    own = model.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (own, tensors))
        if here != there:
            raise CheckpointError(
                f"{path}: {name} is {there}, but the spec's model has {here}; use the run's own spec"
            )
    model.load_state_dict(tensors)


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Restore the moments."""
    stored = _read(checkpoint.path / "optimizer.safetensors")
    numbers = {parameter: name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            prefix = f"{numbers[parameter]}|"
            optimizer.state[parameter] = {
                key.removeprefix(prefix): value.to(parameter.device if value.dim() else "cpu")
                for key, value in stored.items()
                if key.startswith(prefix)
            }


def load_average(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return _read(checkpoint.path / "average.safetensors")


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    state: dict[Any, dict[str, Any]] = optimizer.state
    return {
        f"{names[parameter]}|{key}": value
        for parameter, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _steps(folder: Path) -> list[Path]:
    """Checkpoints by their step, newest first; clocks do not matter."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir()), reverse=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
