"""Weights in one safetensors file, or above a size in several with an index, as the Hugging Face hub has them.

config.json                        model type, and under ``lina`` what ``checkpoint.json`` has
model.safetensors                  the weights; or
model-00001-of-0000N.safetensors   parts of them, and
model.safetensors.index.json       the file of each tensor
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from safetensors.torch import save_file
from torch import Tensor

from lina.core.errors import CheckpointError, FileError
from lina.core.files import tensor_file
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import entry, sha256
from lina.core.files.json_file import read_json
from lina.runs.checkpoint_store import CONFIG, INDEX, MODEL

LARGEST = 1_000_000_000
"""Bytes of one file of weights."""
MODEL_TYPE = "lina"


class _Index(BaseModel):
    """Content of the index."""

    model_config = ConfigDict(extra="ignore")

    weight_map: Annotated[dict[str, str], Field(min_length=1)]


_INDEX = TypeAdapter(_Index)


def write_voice_weights(
    folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], largest: int = LARGEST
) -> str:
    """Write weights and ``config.json`` at the top of a voice; the SHA-256 of the weights, or of their index."""
    groups = _groups(tensors, largest)
    names = [MODEL]
    if len(groups) > 1:
        names = [f"model-{n:05d}-of-{len(groups):05d}.safetensors" for n in range(1, len(groups) + 1)]
    for name, group in zip(names, groups, strict=True):
        save_file(storable({key: tensors[key] for key in group}), folder / name, {"format": "pt"})
        (folder / name).chmod(0o644)  # safetensors creates files readable by their owner only
    if len(groups) > 1:
        size = sum(_bytes(value) for value in tensors.values())
        places = {key: name for name, group in zip(names, groups, strict=True) for key in group}
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
        write_atomic(folder / INDEX, (json.dumps(index, indent=2) + "\n").encode())
        names.append(INDEX)
    sums = {name: sha256(folder / name) for name in names}
    config = {"model_type": MODEL_TYPE, "architectures": ["SpeechModel"], "lina": {**facts, "sha256": sums}}
    write_atomic(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    return sums[names[-1]]


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, or of all files of an index.

    Raises:
        CheckpointError: one cannot be read, or lacks a tensor of the index.
    """
    if path.name != INDEX:
        return read_safetensors(path)
    places = _places(path)
    found: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        found |= read_safetensors(file)
    if missing := sorted(places.keys() ^ found.keys()):
        raise CheckpointError(
            f"{path}: its files and it differ in {missing[0]}; restore what was written together"
        )
    return found


def weight_shapes(path: Path) -> dict[str, list[int]]:
    """Shapes of the tensors of a file of weights, or of all files of an index, from headers alone.

    Raises:
        FileError, OSError: one cannot be read.
    """
    if path.name != INDEX:
        return tensor_file.shapes_of(path)
    found: dict[str, list[int]] = {}
    for file in sorted(set(_places(path).values())):
        found |= tensor_file.shapes_of(file)
    return found


def storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each with its own storage: safetensors refuses tied weights."""
    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        stored[name] = value.clone() if place in seen else value
        seen.add(place)
    return stored


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of one file of a checkpoint.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return tensor_file.read_safetensors(path)
    except FileError as error:
        raise CheckpointError(f"{path}: {error.reason}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None


def _places(path: Path) -> dict[str, Path]:
    """File of each tensor."""
    try:
        index = read_json(path, _INDEX)
        return {key: entry(path.parent, name) for key, name in index.weight_map.items()}
    except FileError as error:
        raise CheckpointError(f"{error}; restore the file") from None


def _groups(tensors: Mapping[str, Tensor], largest: int) -> list[list[str]]:
    """Names of tensors for each file, in order; a tensor that is larger by itself has a file of its own."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, value in tensors.items():
        if groups[-1] and size + _bytes(value) > largest:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += _bytes(value)
    return groups


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size()
