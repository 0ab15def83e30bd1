"""A directory that is either a complete checkpoint or not there, whatever is in it.

    checkpoints/step-00000800/
        ...                     files of the job, such as ``lina.runs.checkpoint``'s
        checkpoint.json         format, step, and the SHA-256 of each other file

Written under a temporary name, forced to disk, renamed. The newest one that is whole wins; a damaged one is named and
passed over. No pickle, and nothing in a checkpoint is ever executed.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lina.core.errors import CheckpointError
from lina.core.files import sha256, sync_directory
from lina.runs.weight_quantization import AS_TRAINED, LAYOUTS

FORMAT = 1
FACTS = "checkpoint.json"
MODEL, AVERAGE = "model.safetensors", "average.safetensors"
"""Weights and their moving average, where each is a file by itself."""
log = logging.getLogger("lina")


class Checkpoint(NamedTuple):
    path: Path
    step: int
    seconds: float
    """Time spent in training until here."""
    corpus: str
    """What it was trained on: the ``identity`` of its ``TrainingData``."""
    weights: str
    """SHA-256 of the weights that speak: the averaged ones where there are any."""
    precision: str | None = None
    """Of the matrix products in training, as a spec writes it; checkpoints of lina's first days do not say."""
    layout: str = AS_TRAINED
    """How the weights are stored: one of ``lina.runs.weight_quantization``."""


class DamagedError(CheckpointError):
    """A checkpoint is not what was written; an older one may still be."""


def checkpoint_folder(directory: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return directory / "checkpoints"


def commit_checkpoint(
    folder: Path, step: int, keep: int, write: Callable[[Path], dict[str, str]]
) -> tuple[Path, dict[str, str]]:
    """Let ``write`` fill ``folder/step-N``, then remove the oldest ones beyond ``keep``, and those of later steps.

    ``write`` is given an empty directory, syncs what it writes there and gives each file's SHA-256 by name. A later
    step is one that was found damaged when training resumed before it.

    Raises:
        CheckpointError: the disk is full or refuses; the checkpoints that were there stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".step-*"):
            shutil.rmtree(leftover)
        temporary = folder / f".step-{step:08d}.{os.getpid()}"
        temporary.mkdir()
        try:
            sums = write(temporary)
            final = folder / f"step-{step:08d}"
            if final.exists():
                _discard(final)
            temporary.rename(final)
            sync_directory(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"{folder}: the checkpoint of step {step} cannot be written: {reason}; "
            "make room and run the same command to resume from the checkpoint before"
        ) from error
    steps = _steps(folder)
    for number, path in steps.items():
        if number > step:
            _discard(path)
    for number in [number for number in steps if number <= step][keep:]:
        _discard(steps[number])
    return final, sums


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files are all what was written; damaged ones are reported and passed over.

    Raises:
        CheckpointError: there are some, but none is whole, or the newest cannot be judged (another format, no
            permission). Training again from the start is never decided here.
    """
    steps = _steps(folder)
    for path in steps.values():
        try:
            return open_checkpoint(path)
        except DamagedError as error:
            only = error
            if len(steps) > 1:
                log.warning("%s; trying the one before", error)
    if _steps(folder) != steps:
        return newest_checkpoint(folder)  # a run that goes on has replaced them meanwhile
    if len(steps) == 1:
        raise CheckpointError(f"{only}; put it back, or delete {folder} to train from the start")
    if steps:
        raise CheckpointError(
            f"{folder}: none of its {len(steps)} checkpoints is whole; put one back, "
            "or delete that folder to train from the start"
        )
    return None


def open_checkpoint(path: Path) -> Checkpoint:
    """Check every file of a checkpoint.

    Raises:
        DamagedError: a file is missing or not what was written.
        CheckpointError: it is in another format, or a file may not be read.
    """
    try:
        facts = json.loads((path / FACTS).read_bytes())
        version, step = facts["format"], int(facts["step"])
        if version != FORMAT:
            raise CheckpointError(
                f"{path}: is in format {version}, this lina reads format {FORMAT}; use the lina that wrote it, "
                "or delete that checkpoint"
            )
        seconds, corpus, sums = float(facts["seconds"]), str(facts["corpus"]), dict(facts["sha256"])
        weights = facts.get("weights") or sums.get(AVERAGE) or sums[MODEL]
        precision, layout = facts.get("precision"), facts.get("layout", AS_TRAINED)
        if layout not in LAYOUTS:
            raise CheckpointError(
                f"{path}: its weights are stored as {layout!r}, this lina reads {', '.join(LAYOUTS)}; use the lina "
                "that wrote it"
            )
    except PermissionError as error:
        raise CheckpointError(f"{path}: may not be read: {error.strerror}; mend its permissions") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: no readable {FACTS} ({error})") from None
    if _number(path) != step:
        raise DamagedError(f"{path}: its {FACTS} is of step {step}")
    for name, expected in sums.items():
        try:
            found = sha256(path / name)
        except PermissionError as error:
            raise CheckpointError(
                f"{path / name}: may not be read: {error.strerror}; mend its permissions"
            ) from None
        except FileNotFoundError:
            raise DamagedError(f"{path / name}: is missing") from None
        except OSError as error:
            raise DamagedError(f"{path / name}: cannot be read: {error.strerror}") from None
        if found != expected:
            raise DamagedError(f"{path / name}: is damaged (its SHA-256 is not the one in {FACTS})")
    return Checkpoint(path, step, seconds, corpus, weights, precision, layout)


def seal(temporary: Path, facts: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Write the facts with the SHA-256 of each file, and sync all; the sums by name."""
    sums = {name: sha256(temporary / name) for name in names}
    (temporary / FACTS).write_text(json.dumps({**facts, "sha256": sums}, indent=1) + "\n")
    for name in (*sums, FACTS):
        _sync(temporary / name)
    sync_directory(temporary)
    return sums


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each with storage of its own: safetensors refuses tied weights."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        stored[name] = value.clone() if place in seen else value
        seen.add(place)
    return stored


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file of a checkpoint.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def _steps(folder: Path) -> dict[int, Path]:
    """Checkpoints by their step, newest first; clocks do not matter."""
    found = {_number(path): path for path in folder.glob("step-*") if path.is_dir()}
    return {number: found[number] for number in sorted(found, reverse=True) if number >= 0}


def _number(path: Path) -> int:
    """The step that a checkpoint's name says; -1 for a name that is no checkpoint's."""
    named = re.fullmatch(r"step-(\d{8,})", path.name)
    return int(named.group(1)) if named else -1


def _discard(path: Path) -> None:
    """Take a checkpoint out of sight at once, then delete it: a kill never leaves half of one."""
    hidden = path.with_name(f".{path.name}.old")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
