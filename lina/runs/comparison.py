"""Records of a comparison of settings: ``comparison.json``, written after each trial by ``lina compare``."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, TypeAdapter

from lina.core.errors import CheckpointError, FileError
from lina.core.files.atomic import write_atomic
from lina.core.files.json_file import read_json
from lina.runs.records import FileRecord, MachineInfo

COMPARISON_FILE = Path("comparison.json")
BASE_FILE = Path("base.yaml")
"""The spec with the settings of all trials."""
Curve = tuple[tuple[float, float], ...]
F = TypeVar("F", bound=FileRecord)


class TrialRecord(FileRecord):
    """Result of one training."""

    name: str
    """Name of its run directory, beside ``comparison.json``."""
    label: str
    """The compared settings, equal for all seeds."""
    settings: tuple[str, ...]
    seed: int
    lr: float
    steps: int
    error: str | None = None
    """Reason of a failure; the fields below then hold nothing."""
    parameters: int = 0
    layers: int = 0
    loss: float | None = None
    """Validation loss after the last step, in nats."""
    error_rate: float | None = None
    """Word error rate of training sentences, with a recognizer."""
    seconds: float = 0.0
    """Time in training steps: without the start, validation and checkpoints."""
    step_seconds: float = 0.0
    """Mean time per step, the first quarter aside."""
    training_frames_per_second: float = 0.0
    """Median over logged steps, the first quarter aside."""
    decoding_frames_per_second: float = 0.0
    """Greedy steps of one stream of the whole model in float32, by PyTorch."""
    state_bytes: int = 0
    """State of one stream."""
    train_curve: Curve = ()
    """(step, loss)."""
    valid_curve: Curve = ()
    cores: int | None = None
    cpu: str = ""
    gpu: str | None = None


class ComparisonRecord(FileRecord):
    """Plan and results."""

    spec: str
    settings: tuple[str, ...]
    """Overrides of all trials."""
    seeds: int
    budget: str
    """Such as ``450 steps``, ``60 seconds``, or ``own train.steps`` where these are compared."""
    sweep: tuple[float, ...] = ()
    """Learning rates tried for each combination by its first seed; the best one got the other seeds."""
    matched: bool = False
    """Layers were chosen for the number of parameters of the spec's own backbone."""
    lina: str
    commit: str | None = None
    date: str
    machine: MachineInfo = MachineInfo()
    trials: tuple[TrialRecord, ...] = ()
    chosen: dict[str, float] = Field(default={})
    """Label to its learning rate, after the sweep."""


_COMPARISON = TypeAdapter(ComparisonRecord)
_TRIAL = TypeAdapter(TrialRecord)


def read_comparison(directory: Path) -> ComparisonRecord | None:
    """The record of a comparison, None if there is none yet.

    Raises:
        CheckpointError: it is damaged.
    """
    return _read(directory / COMPARISON_FILE, _COMPARISON)


def write_comparison(directory: Path, record: ComparisonRecord) -> None:
    write_atomic(directory / COMPARISON_FILE, (record.model_dump_json(indent=1) + "\n").encode())


def read_trial(path: Path) -> TrialRecord | None:
    return _read(path, _TRIAL)


def write_trial(path: Path, record: TrialRecord) -> None:
    write_atomic(path, (record.model_dump_json(indent=1) + "\n").encode())


def _read(path: Path, schema: TypeAdapter[F]) -> F | None:
    try:
        return read_json(path, schema, strict=False)
    except FileNotFoundError:
        return None
    except FileError as error:
        raise CheckpointError(f"{error}; remove the file, then run again") from None
