"""Text sets: a file with one text per line, or a manifest of recordings with their texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lina.core.corpus.manifest import clean_text, read_json_manifest, read_lines
from lina.core.errors import DataError, TextError
from lina.core.text.sentences import sentences_of_text
from lina.core.utterance import Reject
from lina.speech.segments import count_sentences
from lina.speech.voice import Voice

MANIFEST = ".jsonl"


@dataclass(frozen=True)
class Item:
    id: str
    text: str
    recording: Path | None = None
    speaker: str | None = None
    where: str = ""
    """File and line, for messages."""


def read_text_set(path: Path) -> list[Item]:
    """Read the texts of a file; one that ends in ``.jsonl`` is a manifest with one JSON object per line.

    Raises:
        DataError: The file is missing, empty, or has an invalid line.
    """
    items = _manifest(path) if path.suffix == MANIFEST else _lines(path)
    if not items:
        raise DataError(f"{path}: holds no text; write one text per line")
    return items


def check_text_set(items: Sequence[Item], voice: Voice) -> None:
    """Raise TextError at the first text that the voice cannot speak."""
    for item in items:
        try:
            count_sentences(voice, sentences_of_text(item.text))
        except TextError as error:
            raise TextError(f"{item.where}: {error}") from None


def _lines(path: Path) -> list[Item]:
    items: list[Item] = []
    for line in read_lines(path, "the texts, one per line"):
        where = f"{path}:{line.number}"
        if line.complaint:
            raise DataError(f"{where}: {line.complaint}")
        try:
            text = clean_text(line.text)
        except ValueError as error:
            raise DataError(f"{where}: {error}; fix the line") from None
        items.append(Item(f"{len(items) + 1:04d}", text, where=where))
    return items


def _manifest(path: Path) -> list[Item]:
    items = []
    for entry in read_json_manifest(path):
        if isinstance(entry, Reject):
            raise DataError(f"{entry.where}: {entry.reason}")
        items.append(Item(entry.id, entry.text, entry.audio, entry.speaker or None, f"{path}: {entry.id}"))
    return items
