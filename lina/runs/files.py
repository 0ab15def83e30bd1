"""Read and write the small files of a run directory.

    spec.yaml             the composed spec
    run.json              RunInfo
    data/summary.json     DataSummary
    metrics.jsonl         one MetricsRecord per line (``lina.runs.metrics``)
    samples/index.json    list of Sample; its paths are relative to the run directory
    evaluation.json       Evaluation
    codec_evaluation.json  CodecEvaluation, in a run of job codec
    init.json             InitRecord, where the spec has an ``init``

Each ``read`` returns None (or an empty list) for a missing file: a run may be young, or have no evaluation. A damaged
file raises ``CheckpointError``. Files are replaced atomically.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from lina.core.errors import CheckpointError, FileError
from lina.core.files.atomic import make_directory, write_atomic
from lina.core.files.checks import is_inside
from lina.core.files.json_file import read_json
from lina.runs.records import CodecEvaluation, DataSummary, Evaluation, InitRecord, RunInfo, Sample

RUN_FILE = Path("run.json")
DATA_FILE = Path("data/summary.json")
SAMPLES_FILE = Path("samples/index.json")
EVALUATION_FILE = Path("evaluation.json")
CODEC_EVALUATION_FILE = Path("codec_evaluation.json")
INIT_FILE = Path("init.json")

LARGEST = 64_000_000
"""Bytes of such a file: a run may have a million samples."""

F = TypeVar("F")


def read_run_info(directory: Path) -> RunInfo | None:
    return _read(directory / RUN_FILE, TypeAdapter(RunInfo))


def write_run_info(directory: Path, info: RunInfo) -> None:
    _write(directory, RUN_FILE, info.model_dump_json(indent=2))


def read_data_summary(directory: Path) -> DataSummary | None:
    return _read(directory / DATA_FILE, TypeAdapter(DataSummary))


def write_data_summary(directory: Path, summary: DataSummary) -> None:
    _write(directory, DATA_FILE, summary.model_dump_json(indent=2))


def read_init(directory: Path) -> InitRecord | None:
    return _read(directory / INIT_FILE, TypeAdapter(InitRecord))


def write_init(directory: Path, record: InitRecord) -> None:
    _write(directory, INIT_FILE, record.model_dump_json(indent=2))


def init_table(record: InitRecord) -> list[str]:
    """The record as lines of a table for the terminal: loaded, fresh and left parameters of each part."""
    header = ("", "loaded", "fresh", "unused")
    rows = [
        (one.part, *(f"{n:,}" for n in (one.loaded, one.fresh, one.left)), one.how) for one in record.parts
    ]
    sums = (sum(getattr(one, name) for one in record.parts) for name in ("loaded", "fresh", "left"))
    rows.append(("total", *(f"{n:,}" for n in sums), ()))
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(4)]
    lines = [f"init: from {record.source}", *(f"init: {remark}" for remark in record.remarks)]
    for name, loaded, fresh, left, *how in (header, *rows):
        numbers = (f"{text:>{width}}" for text, width in zip((loaded, fresh, left), widths[1:], strict=True))
        words = "; ".join(how[0]) if how else ""
        lines.append("  ".join((f"init: {name:<{widths[0]}}", *numbers, words)).rstrip())
    lines.append(f"init: trained {record.trained:,}, frozen {record.frozen:,}{_lora(record)}")
    return lines


def _lora(record: InitRecord) -> str:
    if record.rank is None:
        return ""
    return f" (LoRA of rank {record.rank}, alpha {record.alpha:g}, on {len(record.targets)} layers)"


def read_evaluation(directory: Path) -> Evaluation | None:
    return _read(directory / EVALUATION_FILE, TypeAdapter(Evaluation))


def write_evaluation(directory: Path, evaluation: Evaluation) -> None:
    _write(directory, EVALUATION_FILE, evaluation.model_dump_json(indent=2))


def read_codec_evaluation(directory: Path) -> CodecEvaluation | None:
    return _read(directory / CODEC_EVALUATION_FILE, TypeAdapter(CodecEvaluation))


def write_codec_evaluation(directory: Path, evaluation: CodecEvaluation) -> None:
    _write(directory, CODEC_EVALUATION_FILE, evaluation.model_dump_json(indent=2))


_SAMPLES = TypeAdapter(tuple[Sample, ...])


def read_samples(directory: Path) -> list[Sample]:
    path = directory / SAMPLES_FILE
    samples = list(_read(path, _SAMPLES) or ())  # type: ignore[arg-type]
    for one in samples:
        for file in (one.audio, one.reference, one.resynthesis, one.attention):
            if file is not None and not is_inside(directory / file, directory):
                raise CheckpointError(
                    f"{path}: {one.id[:40]!r} names a file that leads out of the run directory; fix or remove the file"
                )
    return samples


def write_samples(directory: Path, samples: Sequence[Sample]) -> None:
    _write(directory, SAMPLES_FILE, _SAMPLES.dump_json(tuple(samples), indent=2).decode())


def _read(path: Path, schema: TypeAdapter[F]) -> F | None:
    try:
        return read_json(path, schema, strict=False, limit=LARGEST)
    except FileNotFoundError:
        return None
    except FileError as error:
        raise CheckpointError(f"{error}; fix or remove the file, then run again") from None


def _write(directory: Path, file: Path, text: str) -> None:
    # Not the directory itself: a run directory that was moved away is not made again.
    if file.parent != Path():
        make_directory(directory / file.parent)
    write_atomic(directory / file, text.encode())
