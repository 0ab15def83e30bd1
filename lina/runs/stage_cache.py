"""Which stages of a run are finished, and from what they were made: ``stages.json``."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lina.core.files import write_atomic

STAGES_FILE = Path("stages.json")


def is_finished(directory: Path, stage: str, causes: Any) -> bool:
    """The stage was finished, and from the same causes (a value JSON can hold)."""
    return _read(directory).get(stage) == _key(causes)


def finish(directory: Path, stage: str, causes: Any) -> None:
    """Remember that the stage was finished from these causes."""
    _write(directory, _read(directory) | {stage: _key(causes)})


def forget(directory: Path, stage: str) -> None:
    """The stage is to be done again, whatever happens from here on."""
    stages = _read(directory)
    if stages.pop(stage, None) is not None:
        _write(directory, stages)


def _read(directory: Path) -> dict[str, str]:
    try:
        stages = json.loads((directory / STAGES_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return stages if isinstance(stages, dict) else {}


def _write(directory: Path, stages: dict[str, str]) -> None:
    write_atomic(directory / STAGES_FILE, (json.dumps(stages, indent=1) + "\n").encode())


def _key(causes: Any) -> str:
    return hashlib.sha256(json.dumps(causes, sort_keys=True).encode()).hexdigest()
