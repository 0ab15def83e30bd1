"""Atomic checkpoint directories, whatever their contents.

    checkpoints/step-00000800/
        ...                     files of the job, such as ``lina.runs.checkpoint``'s
        checkpoint.json         format, step, and the SHA-256 of each other file

Each is written under a temporary name, synced and renamed. The newest undamaged one is used; damaged ones are logged
and skipped. Nothing is pickled, and nothing in a checkpoint is executed.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter
from safetensors import SafetensorError

from lina.core.errors import CheckpointError, FileError, one_line
from lina.core.files.atomic import make_directory, sync_directory
from lina.core.files.checks import entry, sha256
from lina.core.files.json_file import read_json
from lina.runs.weight_quantization import AS_TRAINED, LAYOUTS

FORMAT = 1
FACTS = "checkpoint.json"
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
"""In place of ``checkpoint.json`` in an exported voice, and the index of weights in several files."""
MODEL, AVERAGE = "model.safetensors", "average.safetensors"
"""Files of the weights and of their moving average."""
log = logging.getLogger("lina")


class Checkpoint(NamedTuple):
    path: Path
    step: int
    seconds: float
    """Training time so far."""
    corpus: str
    """``identity`` of its training data."""
    weights: str
    """SHA-256 of the weights for inference: the averaged ones if there are any."""
    precision: str | None = None
    """Precision of the matrix products in training, as in a spec; None in early checkpoints."""
    layout: str = AS_TRAINED
    """Storage of the weights: one of ``lina.runs.weight_quantization.LAYOUTS``."""
    norms: tuple[float, ...] = ()
    """Statistics of the gradient norms (``lina.training.gradient_spikes``); none in other checkpoints."""


class _Facts(BaseModel):
    """Content of ``checkpoint.json``."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    step: Annotated[int, Field(ge=0, lt=10**15)]
    seconds: Annotated[float, Field(ge=0.0)]
    corpus: str
    sha256: Annotated[
        dict[str, Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]], Field(min_length=1)
    ]
    weights: str | None = None
    precision: str | None = None
    layout: str = AS_TRAINED
    norms: tuple[float, float, int] | tuple[()] = ()


_FORMAT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_FACTS = TypeAdapter(_Facts)


class _Config(BaseModel):
    """Content of ``config.json`` of an exported voice."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    lina: _Facts


_CONFIG = TypeAdapter(_Config)
LARGEST_FACTS = 1_000_000
"""Bytes of ``checkpoint.json``."""


class DamagedError(CheckpointError):
    """A checkpoint differs from its hashes; an older one may be intact."""


def checkpoint_folder(directory: Path) -> Path:
    """Directory of a run's checkpoints."""
    return directory / "checkpoints"


def has_checkpoints(directory: Path) -> bool:
    """True for a run that has trained: its files describe those weights, and its settings stay."""
    return any(checkpoint_folder(directory).glob("step-*"))


def commit_checkpoint(
    folder: Path, step: int, keep: int, write: Callable[[Path], dict[str, str]]
) -> tuple[Path, dict[str, str]]:
    """Let ``write`` fill ``folder/step-N``, then remove the oldest ones beyond ``keep``, and those of later steps.

    ``write`` gets an empty directory, syncs its files and returns each file's SHA-256 by name. A later step is one that
    was damaged when training resumed before it.

    Raises:
        CheckpointError: the disk is full or fails; existing checkpoints stay.
    """
    try:
        make_directory(folder)  # not its parent: a run directory that was moved away is not made again
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
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else one_line(error)
        remedy = (
            "make room" if "space" in reason or "quota" in reason or "too large" in reason else "fix this"
        )
        raise CheckpointError(
            f"{folder}: the checkpoint of step {step} cannot be written: {reason}; "
            f"{remedy} and run the same command to resume from the checkpoint before"
        ) from error
    steps = _steps(folder)
    for number, path in steps.items():
        if number > step:
            _discard(path)
    for number in [number for number in steps if number <= step][keep:]:
        _discard(steps[number])
    return final, sums


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint; damaged ones are logged and skipped.

    Raises:
        CheckpointError: all are damaged, or the newest cannot be checked (another format, no permission): training
            never restarts by itself.
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
        return newest_checkpoint(folder)  # a running job has replaced them meanwhile
    if len(steps) == 1:
        raise CheckpointError(f"{only}; put it back, or delete {folder} to train from the start")
    if steps:
        raise CheckpointError(
            f"{folder}: none of its {len(steps)} checkpoints is whole; put one back, "
            "or delete that folder to train from the start"
        )
    return None


def find_checkpoint(directory: Path) -> Checkpoint | None:
    """The weights of a run, as ``newest_checkpoint``, or of an exported voice.

    Raises:
        CheckpointError: they are damaged, or in another format.
    """
    folder = checkpoint_folder(directory)
    if (directory / CONFIG).is_file() and not folder.is_dir():
        try:
            return open_checkpoint(directory, CONFIG)
        except DamagedError as error:
            raise CheckpointError(f"{error}; put it back, or export the voice again") from None
    return newest_checkpoint(folder)


def open_checkpoint(path: Path, name: str = FACTS) -> Checkpoint:
    """Check every file of a checkpoint, or (``name`` is ``config.json``) of the weights of an exported voice.

    Raises:
        DamagedError: a file is missing or differs from its hash.
        CheckpointError: it is in another format, or a file may not be read.
    """
    try:
        content = read_json(path / name, _FORMAT, limit=LARGEST_FACTS)
        own = content.get("lina") if name == CONFIG else content
        version = own.get("format") if isinstance(own, dict) else None
        if isinstance(version, int) and version != FORMAT:
            raise CheckpointError(
                f"{path}: is in format {version}, this lina reads format {FORMAT}; use the lina that wrote it, "
                "or delete that checkpoint"
            )
        if name == CONFIG:
            facts = read_json(path / name, _CONFIG, limit=LARGEST_FACTS).lina
        else:
            facts = read_json(path / name, _FACTS, limit=LARGEST_FACTS)
    except PermissionError as error:
        raise CheckpointError(f"{path}: may not be read: {error.strerror}; fix its permissions") from None
    except FileError as error:
        raise DamagedError(f"{path}: no readable {name} (it {error.reason})") from None
    except OSError as error:
        raise DamagedError(f"{path}: no readable {name} ({error.strerror})") from None
    if version != FORMAT:
        raise DamagedError(f"{path}: no readable {name} (it names no format)")
    if facts.layout not in LAYOUTS:
        raise CheckpointError(
            f"{path}: its weights are stored as {facts.layout!r}, this lina reads {', '.join(LAYOUTS)}; use the lina "
            "that wrote it"
        )
    if name == FACTS and _number(path) != facts.step:
        raise DamagedError(f"{path}: its {FACTS} is of step {facts.step}")
    _check_listed(path, facts.sha256, name)
    for file, expected in facts.sha256.items():
        _check_digest(path, file, expected, name)
    sums = facts.sha256
    weights = sums.get(AVERAGE) or sums.get(MODEL) or sums.get(INDEX) or facts.weights
    if weights is None:
        raise DamagedError(f"{path}: no readable {name} (it lists no {MODEL})")
    return Checkpoint(
        path, facts.step, facts.seconds, facts.corpus, weights, facts.precision, facts.layout, facts.norms
    )


def _check_listed(path: Path, sums: Mapping[str, str], facts: str) -> None:
    """Refuse a file that a job would read without a hash in ``facts`` to check it by."""
    patterns = ("*.safetensors", "*.json" if facts == FACTS else INDEX)
    files = {one.name for pattern in patterns for one in path.glob(pattern)} - {facts}
    if not any(name.endswith(".safetensors") for name in sums):
        raise DamagedError(f"{path}: its {facts} has no SHA-256 of weights, so they cannot be checked")
    if unlisted := sorted(files - sums.keys()):
        raise DamagedError(
            f"{path / unlisted[0]}: has no SHA-256 in {facts}, so it cannot be checked; remove it, or restore "
            f"the {facts} that was written with it"
        )


def _check_digest(path: Path, name: str, expected: str, facts: str) -> None:
    try:
        file = entry(path, name)
        found = sha256(file)
    except FileError as error:
        raise DamagedError(f"{error.path}: {error.reason}") from None
    except PermissionError as error:
        raise CheckpointError(
            f"{path / name}: may not be read: {error.strerror}; fix its permissions"
        ) from None
    except FileNotFoundError:
        raise DamagedError(f"{path / name}: is missing") from None
    except OSError as error:
        raise DamagedError(f"{path / name}: cannot be read: {error.strerror}") from None
    if found != expected:
        raise DamagedError(f"{file}: is damaged (its SHA-256 is not the one in {facts})")


def seal(temporary: Path, facts: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Write ``checkpoint.json`` with the SHA-256 of each file, sync all, and return the digests by name."""
    sums = {name: sha256(temporary / name) for name in names}
    (temporary / FACTS).write_text(json.dumps({**facts, "sha256": sums}, indent=1) + "\n")
    for name in (*sums, FACTS):
        _sync(temporary / name)
    sync_directory(temporary)
    return sums


def _steps(folder: Path) -> dict[int, Path]:
    """Checkpoints by step, newest first, independent of file times."""
    found = {_number(path): path for path in folder.glob("step-*") if path.is_dir()}
    return {number: found[number] for number in sorted(found, reverse=True) if number >= 0}


def _number(path: Path) -> int:
    """Step in a checkpoint's name; -1 if it is not a checkpoint's name."""
    named = re.fullmatch(r"step-(\d{8,})", path.name)
    return int(named.group(1)) if named else -1


def _discard(path: Path) -> None:
    """Rename a checkpoint to a hidden name, then delete it, so that a kill never leaves half of one."""
    hidden = path.with_name(f".{path.name}.old")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
