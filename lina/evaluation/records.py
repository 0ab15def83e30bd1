"""Files of a text-set evaluation: ``evaluations/NAME`` of a run."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lina.core.errors import CheckpointError, FileError
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import check_regular
from lina.core.files.json_file import read_json
from lina.runs.records import EvaluationGroup, FileRecord

FOLDER = Path("evaluations")
EVALUATION_FILE = Path("evaluation.json")
MODEL, CODEC, RECORDINGS, FLOOR = "lina", "codec resynthesis", "recordings", "espeak-ng"
SYSTEMS = (MODEL, CODEC, RECORDINGS, FLOOR)
"""The systems compared, in the order of tables: the voice, its ceiling, the ground truth, and the floor."""


class ClipRecord(FileRecord):
    """One text synthesized by one system, with its measurements; None is not measured."""

    id: str
    """Of the text."""
    system: str
    text: str
    audio: Path
    """Relative to the folder of the evaluation."""
    seconds: float
    """Duration of the audio."""
    synthesis_seconds: float | None = None
    """Time of streaming synthesis."""
    first_audio: float | None = None
    """Seconds until the first chunk."""
    peak_memory_mib: float | None = None
    """Peak resident memory of the process so far, before any metric was loaded."""
    skipped: float | None = None
    """This and the next as in ``lina.speech.alignment``."""
    repeated: float | None = None
    unread: float | None = None
    stopped: bool | None = None
    following: float | None = None
    """As in ``lina.speech.alignment``, too: how far the attention followed the text."""
    transcript: str | None = None
    language: str = "en"
    """Of the transcript, as an ISO 639-1 code."""
    words: int | None = None
    wrong_words: int | None = None
    characters: int | None = None
    wrong_characters: int | None = None
    dnsmos: float | None = None
    distill_mos: float | None = None
    similarity: float | None = None
    """Cosine to the mean of the speaker's recordings of the other texts."""

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.system


class TextSetEvaluation(FileRecord):
    """Content of ``evaluation.json`` in ``evaluations/NAME`` of a run, and of ``lina evaluate --json``."""

    name: str
    run: str
    step: int
    lina: str
    """Version."""
    recognizer: str | None
    """Name and the configured values."""
    seed: int
    device: str
    """Device of the synthesis."""
    threads: int
    remarks: tuple[str, ...] = ()
    """Omitted measures and systems, with the reasons."""
    peak_memory_mib: float | None = None
    """Of the process during synthesis; None where it had done other work before."""
    groups: tuple[EvaluationGroup, ...] = ()
    clips: tuple[ClipRecord, ...] = ()


class ClipFile:
    """Append-only JSON-lines file of clip records that survives a kill.

    ``records`` are in the order of appending, by (text id, system). Damaged and truncated lines are dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[tuple[str, str], ClipRecord] = {record.key: record for record in _lines(path)}
        # A truncated last line must not become the beginning of the next one.
        write_atomic(path, "".join(_line(record) for record in self.records.values()).encode())

    def append(self, record: ClipRecord) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        self.records[record.key] = record


def read_evaluation(path: Path) -> TextSetEvaluation:
    """Read one ``evaluation.json``.

    Raises:
        CheckpointError: The file is damaged.
        OSError: It cannot be read.
    """
    try:
        return read_json(path, TypeAdapter(TextSetEvaluation), strict=False, limit=64_000_000)
    except FileError:
        raise CheckpointError(f"{path}: is damaged; remove the file, then evaluate again") from None


def read_text_set_evaluations(directory: Path) -> list[tuple[Path, TextSetEvaluation]]:
    """Return folder and result of each finished evaluation of a run, by name.

    Raises:
        CheckpointError: A file is damaged.
    """
    files = sorted((directory / FOLDER).glob(f"*/{EVALUATION_FILE}"))
    return [(path.parent, read_evaluation(path)) for path in files]


def _lines(path: Path) -> Iterator[ClipRecord]:
    if not path.exists():
        return
    check_regular(path)
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield ClipRecord.model_validate_json(line)
        except ValidationError:
            continue


def _line(record: ClipRecord) -> str:
    return record.model_dump_json(exclude_none=True) + "\n"
