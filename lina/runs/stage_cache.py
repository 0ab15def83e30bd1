"""Cache keys of the finished stages of a run, in ``stages.json``."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lina.core.errors import FileError
from lina.core.files.atomic import write_atomic
from lina.core.files.json_file import read_json

_STAGES = TypeAdapter(dict[str, str])
STAGES_FILE = Path("stages.json")


def is_up_to_date(directory: Path, stage: str, inputs: Any) -> bool:
    """Compare the inputs of the finished stage with these inputs (any value that JSON can hold)."""
    return _read(directory).get(stage) == _key(inputs)


def finish(directory: Path, stage: str, inputs: Any) -> None:
    """Record that the stage was finished with these inputs."""
    _write(directory, _read(directory) | {stage: _key(inputs)})


def invalidate(directory: Path, stage: str) -> None:
    """Remove the record of a stage, so that the stage is redone."""
    stages = _read(directory)
    if stages.pop(stage, None) is not None:
        _write(directory, stages)


def _read(directory: Path) -> dict[str, str]:
    try:
        return read_json(directory / STAGES_FILE, _STAGES)
    except (OSError, FileError):
        return {}


def _write(directory: Path, stages: dict[str, str]) -> None:
    write_atomic(directory / STAGES_FILE, (json.dumps(stages, indent=1) + "\n").encode())


def _key(inputs: Any) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
