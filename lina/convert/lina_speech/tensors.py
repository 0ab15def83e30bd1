"""Tensors of a lina-speech checkpoint file (torch's zip format), read without executing anything.

Released files hold ``{"model": tensors}``; its Lightning training checkpoints hold ``state_dict``, with names that may
begin with ``model.``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lina.core.errors import CheckpointError, FileError
from lina.core.files.checks import check_regular
from lina.core.files.tensor_file import PickledObjects, is_whole, is_zip, not_finite, read_pickled_tensors

FORMAT = 'a checkpoint of lina-speech is a file of torch.save with {"model": tensors} or a "state_dict"'
FOREIGN = (
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with: git lfs pull"),
    (b"PK\x03\x04", "a zip file that is cut off; download it again"),
    (b"\x80", "a bare pickle, which could run any code and is not opened"),
    (b"<", "a web page, or XML; download the file itself"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
)
"""First bytes of other formats, and their descriptions for error messages."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint by their lina-speech names, memory-mapped on the CPU.

    Raises:
        CheckpointError: The file is of another format, which the message names.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; {FORMAT}")
    if path.is_dir():
        raise CheckpointError(f"{path}: is {_folder(path)}")
    try:
        check_regular(path)
        if not is_zip(path):
            raise CheckpointError(f"{path}: is {_foreign(path)}; {FORMAT}")
        content = read_pickled_tensors(path)
    except PickledObjects as error:
        raise CheckpointError(
            f"{path}: holds {_objects(path, error)}, and lina loads nothing but tensors; where it was trained, "
            'save them alone: torch.save({"state_dict": checkpoint["state_dict"]}, FILE)'
        ) from None
    except FileError as error:
        raise CheckpointError(f"{path}: {error.reason}; {FORMAT}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    return _named(path, content)


def _named(path: Path, content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, no dictionary; {FORMAT}")
    found = next(
        (content[key] for key in ("model", "state_dict") if isinstance(content.get(key), Mapping)), None
    )
    if found is None:
        raise CheckpointError(f"{path}: its keys are {some(map(str, content))}; {FORMAT}")
    odd = [str(name) for name, value in found.items() if not _is_weight(name, value)]
    if odd or not found:
        problem = f"{some(odd)} in it are no tensors of numbers" if odd else "it is empty"
        raise CheckpointError(f"{path}: {problem}; {FORMAT}")
    tensors = {name.removeprefix("model."): value.float() for name, value in found.items()}
    if broken := not_finite(tensors):
        raise CheckpointError(f"{path}: not all numbers of {some(broken)} are finite; it is damaged")
    return tensors


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and is_whole(value) and value.is_floating_point()


def _folder(path: Path) -> str:
    if (path / "spec.yaml").exists():
        return f"a run of lina already; speak with it: lina say --run {path} TEXT -o FILE"
    if (path / "checkpoint.json").exists():
        return "a checkpoint of lina already; its run is the folder above its folder"
    return f"a folder; {FORMAT}"


def _foreign(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "empty"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "a safetensors file, such as lina itself writes"
    return next((description for begin, description in FOREIGN if head.startswith(begin)), "no zip file")


def _objects(path: Path, error: PickledObjects) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:
        names = []
    return (
        f"Python objects ({some(sorted(names))})" if names else f"objects other than tensors ({error.reason})"
    )


def some(names: Any) -> str:
    """Join the first few names for a message."""
    listed = [name if len(name) <= 80 else f"{name[:77]}..." for name in names]
    return f"{', '.join(listed[:4])}{f' and {len(listed) - 4} more' if len(listed) > 4 else ''}"
