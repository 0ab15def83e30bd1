"""Checkpoints of job codec, in small shards.

    checkpoints/step-00001000/
        state-00.safetensors ...   tensors in shards of at most 15 MB
        numbers.json               scalar optimizer state, and the precision of the discriminators
        checkpoint.json            format, step, and the SHA-256 of each other file

Tensors are named ``codec/…``, ``average/…`` and ``discriminators/…`` (float32, including buffers such as codebooks),
``codec_moments/parameter|name`` and ``discriminators_moments/…`` (bfloat16). Before it saves, training rounds the
moments of its own optimizers to bfloat16 (``round_moments``), so that continuing and resuming from the checkpoint are
equivalent: bit for bit on the CPU. A run that a signal has stopped was rounded once more than an uninterrupted one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError, FileError
from lina.core.files.json_file import read_json
from lina.runs.checkpoint import check_finite, check_matching
from lina.runs.checkpoint_store import FORMAT, Checkpoint, commit_checkpoint, seal
from lina.runs.optimizer_state import OptimizerNumbers, optimizer_state, restore_optimizer
from lina.runs.weight_files import read_safetensors, storable
from lina.training.optimizer import MovingAverage

SHARD_BYTES = 15_000_000
NUMBERS = "numbers.json"
CODEC, AVERAGE, DISCRIMINATORS = "codec/", "average/", "discriminators/"
CODEC_MOMENTS, DISCRIMINATORS_MOMENTS = "codec_moments/", "discriminators_moments/"


class _Numbers(BaseModel):
    """Content of ``numbers.json``."""

    model_config = ConfigDict(extra="forbid")

    discriminators_precision: str
    codec_moments: OptimizerNumbers = Field(alias="codec_moments/")
    discriminators_moments: OptimizerNumbers = Field(alias="discriminators_moments/")


_NUMBERS = TypeAdapter(_Numbers)


class TrainingState(NamedTuple):
    """Everything that training updates."""

    codec: nn.Module
    average: MovingAverage | None
    optimizer: torch.optim.Optimizer
    discriminators: nn.Module
    discriminators_optimizer: torch.optim.Optimizer


@torch.no_grad()
def round_moments(state: TrainingState) -> None:
    """Round the moments to bfloat16 in place, as a checkpoint holds them; on every rank, so that they stay equal."""
    for _, module, optimizer in _optimizers(state):
        for moment in optimizer_state(module, optimizer)[0].values():
            if moment.dim():  # not the step counter
                moment.copy_(moment.bfloat16())


@torch.no_grad()
def save(
    folder: Path,
    state: TrainingState,
    *,
    step: int,
    seconds: float,
    corpus: str,
    precision: str,
    discriminators_precision: str,
    keep: int,
) -> Checkpoint:
    """Write ``folder/step-N``, of moments after ``round_moments``, and delete all but the newest ``keep``.

    Raises:
        CheckpointError: the files cannot be written; existing checkpoints stay.
    """
    tensors = _add_prefix(CODEC, state.codec.state_dict())
    tensors |= _add_prefix(DISCRIMINATORS, state.discriminators.state_dict())
    if state.average is not None:
        tensors |= _add_prefix(AVERAGE, state.average.average)
    numbers: dict[str, Any] = {"discriminators_precision": discriminators_precision}
    for prefix, module, optimizer in _optimizers(state):
        moments, numbers[prefix] = optimizer_state(module, optimizer)
        rounded = {name: value.bfloat16() if value.dim() else value for name, value in moments.items()}
        tensors |= _add_prefix(prefix, rounded)

    def write(temporary: Path) -> dict[str, str]:
        names = [NUMBERS]
        (temporary / NUMBERS).write_text(json.dumps(numbers, indent=1) + "\n")
        for place, shard in enumerate(_shards(storable(tensors))):
            names.append(f"state-{place:02d}.safetensors")
            save_file(shard, temporary / names[-1])
        facts = {
            "format": FORMAT,
            "job": "codec",
            "step": step,
            "seconds": round(seconds, 3),
            "corpus": corpus,
        }
        return seal(temporary, facts | {"precision": precision, "weights": _hash_weights(tensors)}, names)

    path, _ = commit_checkpoint(folder, step, keep, write)
    return Checkpoint(path, step, seconds, corpus, _hash_weights(tensors), precision)


def restore(checkpoint: Checkpoint, state: TrainingState) -> None:
    """Load a checkpoint into ``state``.

    Raises:
        CheckpointError: it is of another codec or of other discriminators; names the first difference.
    """
    tensors: dict[str, Tensor] = {}
    for shard in sorted(checkpoint.path.glob("state-*.safetensors")):
        tensors |= read_safetensors(shard)
    check_finite(checkpoint.path, tensors)
    for prefix, module in ((CODEC, state.codec), (DISCRIMINATORS, state.discriminators)):
        module.load_state_dict(_matching(checkpoint.path, prefix, tensors, module.state_dict()))
    if state.average is not None:
        state.average.load(_matching(checkpoint.path, AVERAGE, tensors, state.average.average))
    numbers = read_numbers(checkpoint)
    for prefix, module, optimizer in _optimizers(state):
        try:
            restore_optimizer(module, optimizer, _remove_prefix(prefix, tensors), numbers[prefix])
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint.path}: {prefix[:-1]} do not match the spec: {error}"
            ) from None


def read_numbers(checkpoint: Checkpoint) -> dict[str, Any]:
    """Contents of ``numbers.json``.

    Raises:
        CheckpointError: the file is missing or unreadable, as in a checkpoint of another job.
    """
    try:
        return read_json(checkpoint.path / NUMBERS, _NUMBERS, strict=False).model_dump(by_alias=True)
    except FileError as error:
        reason = error.reason
    except OSError as error:
        reason = error.strerror or str(error)
    raise CheckpointError(f"{checkpoint.path}: is not a checkpoint of job codec: {NUMBERS}: {reason}")


def _optimizers(state: TrainingState) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer]]:
    yield CODEC_MOMENTS, state.codec, state.optimizer
    yield DISCRIMINATORS_MOMENTS, state.discriminators, state.discriminators_optimizer


def _hash_weights(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the weights, the averaged weights and the codebooks."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        if name.startswith((CODEC, AVERAGE)):
            digest.update(name.encode())
            content = tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def _shards(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Split into shards of at most ``SHARD_BYTES``, by name; a larger tensor gets a shard of its own."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name in sorted(tensors):
        more = tensors[name].nbytes + 200  # plus its header entry
        if shard and size + more > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensors[name]
        size += more
    yield shard


def _add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _remove_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _matching(
    path: Path, prefix: str, tensors: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors with ``prefix``, after checking that they fit ``target`` and are finite."""
    stored = {name: value for name, value in tensors.items() if name.startswith(prefix)}
    check_matching(path, stored, _add_prefix(prefix, target))
    return _remove_prefix(prefix, stored)
