"""What an evaluation over a text set keeps in its files."""

from pathlib import Path

from lina.runs.file_record import FileRecord
from lina.runs.records import EvaluationGroup

MODEL, CODEC, RECORDINGS, FLOOR = "lina", "codec resynthesis", "recordings", "espeak-ng"
SYSTEMS = (MODEL, CODEC, RECORDINGS, FLOOR)
"""Who speaks, in the order of tables: the voice, its ceiling, what that is made of, and the floor."""


class ClipRecord(FileRecord):
    """One text said by one system, and what was measured of it; None is not measured."""

    id: str
    """Of the text."""
    system: str
    text: str
    audio: Path
    """In the folder of the evaluation."""
    seconds: float
    """The duration."""
    synthesis_seconds: float | None = None
    """What speaking took, in chunks as they are made."""
    first_audio: float | None = None
    """Seconds until the first chunk was there."""
    peak_memory_mib: float | None = None
    """The largest resident memory of the process until then, before any judge was loaded."""
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
    similarity: float | None = None
    """Cosine to the mean of the speaker's recordings of the other texts."""

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.system


class TextSetEvaluation(FileRecord):
    """``evaluation.json`` in ``evaluations/NAME`` of a run, and what ``lina evaluate --json`` writes."""

    name: str
    run: str
    step: int
    lina: str
    """The version."""
    recognizer: str | None
    """Its name, and what was written of its configuration."""
    seed: int
    device: str
    """What the voice spoke on."""
    threads: int
    remarks: tuple[str, ...] = ()
    """What was left out and why."""
    peak_memory_mib: float | None = None
    """Of the process while the voice spoke; None where it had done other work before."""
    groups: tuple[EvaluationGroup, ...] = ()
    clips: tuple[ClipRecord, ...] = ()
