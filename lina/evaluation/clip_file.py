"""A file of clip records, a line each, that grows while they are made and survives a kill."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from lina.core.files import write_atomic
from lina.evaluation.records import ClipRecord

Key = tuple[str, str]


class ClipFile:
    """``records`` by text and system, in the order of making. A damaged line, or one cut by a kill, is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[Key, ClipRecord] = {record.key: record for record in _read(path)}
        # What a kill has cut off must not be the beginning of the next line.
        write_atomic(path, "".join(_line(record) for record in self.records.values()).encode())

    def append(self, record: ClipRecord) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self.records[record.key] = record


def _read(path: Path) -> Iterator[ClipRecord]:
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield ClipRecord.model_validate_json(line)
        except ValidationError:
            continue


def _line(record: ClipRecord) -> str:
    return record.model_dump_json(exclude_none=True) + "\n"
