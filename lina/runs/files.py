"""The small files of a run directory: one definition for who writes them and who reads them.

    spec.yaml             the composed spec
    run.json              RunInfo
    data/summary.json     DataSummary
    metrics.jsonl         MetricsRecord, one a line (``lina.runs.metrics``)
    samples/index.json    list of SampleRecord; its paths are relative to the run directory
    evaluation.json       Evaluation
    codec_evaluation.json  CodecEvaluation, in a run of job codec
    init.json             InitRecord, where the spec has an ``init``

Every ``read`` gives None (or an empty list) for a file that is not there: a run may be young, or have no
evaluation. A file that is there and cannot be understood is a ``CheckpointError``. Whole files are replaced atomically.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from lina.core.errors import CheckpointError, first_reason
from lina.core.files import write_atomic
from lina.runs.records import CodecEvaluation, DataSummary, Evaluation, InitRecord, RunInfo, SampleRecord

RUN_FILE = Path("run.json")
DATA_FILE = Path("data/summary.json")
SAMPLES_FILE = Path("samples/index.json")
EVALUATION_FILE = Path("evaluation.json")
CODEC_EVALUATION_FILE = Path("codec_evaluation.json")
INIT_FILE = Path("init.json")

F = TypeVar("F", bound=BaseModel)


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


def read_codec_evaluation(directory: Path) -> CodecEvaluation | None:
    return _read(directory / CODEC_EVALUATION_FILE, CodecEvaluation)


def write_codec_evaluation(directory: Path, evaluation: CodecEvaluation) -> None:
    _write(directory / CODEC_EVALUATION_FILE, evaluation.model_dump_json(indent=2))


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


def _read(path: Path, kind: type[F]) -> F | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _damaged(path, error) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, text.encode())


def _damaged(path: Path, error: ValidationError) -> CheckpointError:
    return CheckpointError(f"{path}: {first_reason(error)}; mend or remove the file, then run again")
