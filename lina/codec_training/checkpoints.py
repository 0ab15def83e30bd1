"""Checkpoints of job codec: small enough to be carried between machines, and all that resuming needs.

    checkpoints/step-00001000/
        state-00.safetensors ...   tensors in shards of at most 15 MB
        numbers.json               the optimisers' numbers, and the precision of the discriminators
        checkpoint.json            format, step, and the SHA-256 of each other file

Tensors are named ``codec/…``, ``average/…`` and ``discriminators/…`` (float32, buffers such as codebooks
among them), ``codec_moments/parameter|name`` and ``discriminators_moments/…`` (bfloat16). Writing a checkpoint rounds
the moments of the running optimisers as well, so a run that goes on and one that is resumed from it compute the same:
bit for bit on the CPU. A run that was never stopped has been rounded at its regular checkpoints only; one that a signal
stopped, there too.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lina.core.errors import CheckpointError
from lina.runs.checkpoint import optimizer_state, restore_optimizer
from lina.runs.checkpoint_store import FORMAT, Checkpoint, commit_checkpoint, read_safetensors, seal, storable
from lina.training.optimizer import MovingAverage

SHARD_BYTES = 15_000_000
NUMBERS = "numbers.json"
CODEC, AVERAGE, DISCRIMINATORS = "codec/", "average/", "discriminators/"
CODEC_MOMENTS, DISCRIMINATORS_MOMENTS = "codec_moments/", "discriminators_moments/"


class Learning(NamedTuple):
    """All that changes in training."""

    codec: nn.Module
    average: MovingAverage | None
    optimizer: torch.optim.Optimizer
    discriminators: nn.Module
    discriminators_optimizer: torch.optim.Optimizer


@torch.no_grad()
def save(
    folder: Path,
    learning: Learning,
    *,
    step: int,
    seconds: float,
    corpus: str,
    precision: str,
    discriminators_precision: str,
    keep: int,
) -> Checkpoint:
    """Write ``folder/step-N`` and remove what is beyond ``keep``; the moments are rounded to bfloat16 in place.

    Raises:
        CheckpointError: the disk is full or refuses; the checkpoints that were there stay.
    """
    tensors = _prefixed(CODEC, learning.codec.state_dict())
    tensors |= _prefixed(DISCRIMINATORS, learning.discriminators.state_dict())
    if learning.average is not None:
        tensors |= _prefixed(AVERAGE, learning.average.average)
    numbers: dict[str, Any] = {"discriminators_precision": discriminators_precision}
    for prefix, module, optimizer in _optimizers(learning):
        moments, numbers[prefix] = optimizer_state(module, optimizer)
        for moment in moments.values():
            if moment.dim():  # not the count of steps
                moment.copy_(moment.bfloat16())
        halved = {name: value.bfloat16() if value.dim() else value for name, value in moments.items()}
        tensors |= _prefixed(prefix, halved)

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
        return seal(temporary, facts | {"precision": precision, "weights": _weights(tensors)}, names)

    path, _ = commit_checkpoint(folder, step, keep, write)
    return Checkpoint(path, step, seconds, corpus, _weights(tensors), precision)


def restore(checkpoint: Checkpoint, learning: Learning) -> None:
    """Load everything.

    Raises:
        CheckpointError: it is of another codec or other discriminators; the first difference is named.
    """
    tensors: dict[str, Tensor] = {}
    for shard in sorted(checkpoint.path.glob("state-*.safetensors")):
        tensors |= read_safetensors(shard)
    for prefix, module in ((CODEC, learning.codec), (DISCRIMINATORS, learning.discriminators)):
        module.load_state_dict(_fitting(checkpoint.path, prefix, tensors, module.state_dict()))
    if learning.average is not None:
        learning.average.load(_fitting(checkpoint.path, AVERAGE, tensors, learning.average.average))
    numbers = read_numbers(checkpoint)
    for prefix, module, optimizer in _optimizers(learning):
        try:
            restore_optimizer(module, optimizer, _of(prefix, tensors), numbers[prefix])
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{checkpoint.path}: {prefix[:-1]}: do not fit the spec: {error}") from None


def read_numbers(checkpoint: Checkpoint) -> dict[str, Any]:
    """``numbers.json``.

    Raises:
        CheckpointError: there is none that can be read, as in a checkpoint of another job.
    """
    try:
        return dict(json.loads((checkpoint.path / NUMBERS).read_bytes()))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint.path}: is no checkpoint of job codec: no readable {NUMBERS} ({error})"
        ) from None


def _optimizers(learning: Learning) -> Iterator[tuple[str, nn.Module, torch.optim.Optimizer]]:
    yield CODEC_MOMENTS, learning.codec, learning.optimizer
    yield DISCRIMINATORS_MOMENTS, learning.discriminators, learning.discriminators_optimizer


def _weights(tensors: Mapping[str, Tensor]) -> str:
    """Of what would be exported: the weights, averaged ones if there are any, and the codebooks."""
    told = hashlib.sha256()
    for name in sorted(tensors):
        if name.startswith((CODEC, AVERAGE)):
            told.update(name.encode())
            told.update(
                tensors[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            )
    return told.hexdigest()


def _shards(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """In the order of their names, as many in each as fit; a larger tensor has one of its own."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name in sorted(tensors):
        more = tensors[name].nbytes + 200  # with its line in the header
        if shard and size + more > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensors[name]
        size += more
    yield shard


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _fitting(
    path: Path, prefix: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    stored = _of(prefix, tensors)
    for name in sorted(own.keys() | stored.keys()):
        here, there = (list(side[name].shape) if name in side else "nothing" for side in (own, stored))
        if here != there:
            raise CheckpointError(
                f"{path}: {prefix}{name} is {there}, but the spec makes it {here}; use the spec it was trained with"
            )
    return stored
