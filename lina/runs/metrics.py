"""``metrics.jsonl`` of a run directory: one ``MetricsRecord`` per line, in order.

Training does not depend on them, so damaged lines are logged and skipped.
"""

import logging
from pathlib import Path

from pydantic import ValidationError

from lina.core.errors import first_reason
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import check_regular
from lina.runs.records import MetricsRecord

METRICS_FILE = Path("metrics.jsonl")

log = logging.getLogger("lina")


def append_metrics(directory: Path, record: MetricsRecord) -> None:
    """Add a line to ``metrics.jsonl``."""
    with (directory / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(_line(record))


def read_metrics(directory: Path) -> list[MetricsRecord]:
    """All records; of a step that a resumed run repeated, the later one.

    A last line without newline was cut by a kill and is skipped. So are damaged ones, with a warning.
    """
    return _metrics(directory / METRICS_FILE)[0]


def rewind_metrics(directory: Path, step: int) -> None:
    """Remove the records after ``step``, at which the run resumes, and a line cut by a kill.

    A copy of a file with damaged lines is kept as ``metrics.jsonl.damaged``.
    """
    path = directory / METRICS_FILE
    records, damaged = _metrics(path)
    if damaged:
        path.with_name(f"{path.name}.damaged").write_bytes(path.read_bytes())
    if path.exists():
        write_atomic(path, "".join(_line(record) for record in records if record.step <= step).encode())


def _metrics(path: Path) -> tuple[list[MetricsRecord], bool]:
    """The records, and whether damaged lines were skipped.

    Raises:
        FileError: it is not a regular file.
    """
    if not path.exists():
        return [], False
    check_regular(path)
    records: dict[tuple[int, str], MetricsRecord] = {}
    damaged: list[str] = []
    *lines, _cut = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            record = MetricsRecord.model_validate_json(line)
        except ValidationError as error:
            damaged.append(f"line {number}: {first_reason(error)}")
        else:
            records[record.step, record.split] = record
    if damaged:
        more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
        log.warning("%s: %s%s; left out of curves and report", path, damaged[0], more)
    return sorted(records.values(), key=lambda record: record.step), bool(damaged)


def _line(record: MetricsRecord) -> str:
    return record.model_dump_json(by_alias=True, exclude_none=True) + "\n"
