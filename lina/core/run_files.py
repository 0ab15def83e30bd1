"""The small files of a run directory: one definition for who writes them and who reads them.

    spec.yaml             the composed spec
    run.json              RunInfo
    data/summary.json     DataSummary
    metrics.jsonl         MetricsRecord, one a line, in the order they happened
    samples/index.json    list of SampleRecord; its paths are relative to the run directory
    evaluation.json       Evaluation
    init.json             InitRecord, where the spec has an ``init``

Every ``read`` gives None (or an empty list) for a file that is not there: a run may be young, or have no
evaluation. A file that is there and cannot be understood is a ``CheckpointError``, but for lines of metrics: nothing
is computed from them, so damaged ones are told of and left out. Whole files are replaced atomically.
"""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lina.core.errors import CheckpointError
from lina.core.hooks import Sample

RUN_FILE = Path("run.json")
DATA_FILE = Path("data/summary.json")
METRICS_FILE = Path("metrics.jsonl")
SAMPLES_FILE = Path("samples/index.json")
EVALUATION_FILE = Path("evaluation.json")
INIT_FILE = Path("init.json")

F = TypeVar("F", bound=BaseModel)
log = logging.getLogger("lina")


class _Record(BaseModel):
    # NaN and infinity become the strings "NaN" and "Infinity", which JSON can hold and pydantic reads back.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        ser_json_inf_nan="strings",
        protected_namespaces=(),
    )


class MachineInfo(_Record):
    cpu: str = ""
    """The processor's name."""
    cores: int | None = None
    """Cores that the run could use."""
    gpu: str | None = None


class PluginInfo(_Record):
    role: str
    """``backbone``, ``codec``, ``tokenizer``, ``corpus`` or ``hook``."""
    name: str
    distribution: str = ""
    version: str = ""


class ModelInfo(_Record):
    """Counts of trained numbers; further parts may be added beside ``backbone``."""

    model_config = ConfigDict(extra="allow")

    parameters: int
    backbone: int | None = None


class RunInfo(_Record):
    lina: str
    """The version of lina."""
    started: str
    """ISO 8601, with the zone."""
    machine: MachineInfo = MachineInfo()
    versions: dict[str, str] = {}
    """Packages that matter to the result, by name."""
    plugins: tuple[PluginInfo, ...] = ()
    model: ModelInfo | None = None
    commit: str | None = None
    """Of lina, where it runs from a git checkout or was installed from one."""


class CodecInfo(_Record):
    name: str
    sample_rate: int
    """Hz."""
    hop: int
    """Samples a frame."""
    codebook_sizes: tuple[int, ...]


class DataSummary(_Record):
    utterances: int
    """All that are used, validation included."""
    valid: int
    """Those held out for validation."""
    seconds: float
    rejects: int = 0
    """Lines of ``rejects.jsonl``."""
    codec: CodecInfo | None = None


class MetricsRecord(_Record):
    """What was measured at a step. Fields of other plugins are kept."""

    model_config = ConfigDict(extra="allow")

    step: int
    split: Literal["train", "valid"]
    loss: float
    accuracy: tuple[float, ...] = ()
    """Share of right greedy guesses, one a codebook."""
    lr: float | None = None
    grad_norm: float | None = None
    """Before clipping."""
    frames_per_second: float | None = Field(default=None, alias="frames/s")
    seconds: float | None = None
    """Time spent in training so far, over all resumptions."""


class SampleRecord(_Record):
    """The fields of ``Sample`` and what the recogniser heard. Error rate 0.25: a quarter of the words."""

    id: str
    kind: str
    text: str
    audio: Path
    sample_rate: int
    reference: Path | None = None
    resynthesis: Path | None = None
    attention: Path | None = None
    text_labels: tuple[str, ...] = ()
    stopped: bool = True
    transcript: str | None = None
    error_rate: float | None = None
    """Word error rate of ``transcript`` against ``text``."""
    reference_transcript: str | None = None
    resynthesis_transcript: str | None = None
    resynthesis_error_rate: float | None = None

    @classmethod
    def of(cls, sample: Sample, **heard: Any) -> "SampleRecord":
        """A record of a sample; ``heard`` are fields that ``Sample`` does not have."""
        return cls(**asdict(sample), **heard)

    def sample(self) -> Sample:
        return Sample(**{name: getattr(self, name) for name in Sample.__dataclass_fields__})


class EvaluationGroup(_Record):
    name: str
    """Such as ``training sentences, greedy``, ``codec resynthesis``, ``recordings``, ``unseen sentences``."""
    sentences: int
    word_error_rate: float
    """Wrong words over words of all texts together; may exceed 1."""
    character_error_rate: float | None = None


class Evaluation(_Record):
    recognizer: str
    groups: tuple[EvaluationGroup, ...] = ()


class InitPart(_Record):
    """What became of a part of the model; counts of numbers."""

    part: str
    loaded: int
    fresh: int
    """As a new model has them."""
    left: int
    """Numbers of the source that have no place here."""
    how: tuple[str, ...] = ()


class InitRecord(_Record):
    """What a run began with. Resuming needs no source: only, with low-rank matrices, what is trained."""

    source: str
    remarks: tuple[str, ...] = ()
    parts: tuple[InitPart, ...] = ()
    trained: int
    """Numbers that are trained, low-rank matrices among them."""
    frozen: int
    rank: int | None = None
    """Of the low-rank matrices; None where all is trained."""
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    """Layers that have low-rank matrices."""
    whole: tuple[str, ...] = ()
    """Beside them, the parameters that are trained as they are."""


def read_run_info(directory: Path) -> RunInfo | None:
    return _read(directory / RUN_FILE, RunInfo)


def write_run_info(directory: Path, info: RunInfo) -> None:
    _write(directory / RUN_FILE, info.model_dump_json(indent=2))


def read_data_summary(directory: Path) -> DataSummary | None:
    return _read(directory / DATA_FILE, DataSummary)


def write_data_summary(directory: Path, summary: DataSummary) -> None:
    _write(directory / DATA_FILE, summary.model_dump_json(indent=2))


def read_init(directory: Path) -> InitRecord | None:
    return _read(directory / INIT_FILE, InitRecord)


def write_init(directory: Path, record: InitRecord) -> None:
    _write(directory / INIT_FILE, record.model_dump_json(indent=2))


def read_evaluation(directory: Path) -> Evaluation | None:
    return _read(directory / EVALUATION_FILE, Evaluation)


def write_evaluation(directory: Path, evaluation: Evaluation) -> None:
    _write(directory / EVALUATION_FILE, evaluation.model_dump_json(indent=2))


_SAMPLES = TypeAdapter(tuple[SampleRecord, ...])


def read_samples(directory: Path) -> list[SampleRecord]:
    path = directory / SAMPLES_FILE
    if not path.exists():
        return []
    try:
        return list(_SAMPLES.validate_json(path.read_bytes()))
    except ValidationError as error:
        raise _damaged(path, error) from error


def write_samples(directory: Path, samples: Sequence[SampleRecord]) -> None:
    _write(directory / SAMPLES_FILE, _SAMPLES.dump_json(tuple(samples), indent=2).decode())


def append_metrics(directory: Path, record: MetricsRecord) -> None:
    """Add a line to ``metrics.jsonl``."""
    with (directory / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(_line(record))


def read_metrics(directory: Path) -> list[MetricsRecord]:
    """All records, the later one where a resumed run repeated a step.

    A last line without its newline was cut by a kill and is left out. So are damaged ones, with a warning.
    """
    return _metrics(directory / METRICS_FILE)[0]


def rewind_metrics(directory: Path, step: int) -> None:
    """Forget what came after ``step``, and a line cut by a kill: the run resumes at a checkpoint of then.

    A file with damaged lines is kept beside it, as ``metrics.jsonl.damaged``.
    """
    path = directory / METRICS_FILE
    records, damaged = _metrics(path)
    if damaged:
        path.with_name(f"{path.name}.damaged").write_bytes(path.read_bytes())
    if path.exists():
        _write(path, "".join(_line(record) for record in records if record.step <= step))


def _metrics(path: Path) -> tuple[list[MetricsRecord], bool]:
    """The records, and whether lines were left out."""
    if not path.exists():
        return [], False
    records: dict[tuple[int, str], MetricsRecord] = {}
    damaged: list[str] = []
    *lines, _cut = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = MetricsRecord.model_validate_json(line)
        except ValidationError as error:
            damaged.append(f"line {number}: {_reason(error)}")
        else:
            records[record.step, record.split] = record
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        log.warning("%s: %s%s; left out of curves and report", path, damaged[0], more)
    return sorted(records.values(), key=lambda record: record.step), bool(damaged)


def _line(record: MetricsRecord) -> str:
    return record.model_dump_json(by_alias=True, exclude_none=True) + "\n"


def _read(path: Path, kind: type[F]) -> F | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, error) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _damaged(path: Path, error: ValidationError) -> CheckpointError:
    return CheckpointError(f"{path}: {_reason(error)}; mend or remove the file, then run again")


def _reason(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field}: {first['msg']}" if field else first["msg"]
