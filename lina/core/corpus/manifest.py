"""Manifests: lists of utterances in text files, with validation of lines, ids, paths and texts."""

import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from lina.core.errors import DataError, did_you_mean
from lina.core.utterance import Reject, Utterance

LONGEST_ID = 200
NEEDED = ("id", "audio", "text")
"""Keys of each line of a JSON manifest."""


class Line(NamedTuple):
    number: int
    """From 1."""
    text: str
    complaint: str
    """Reason why the line cannot be read, or ""."""


def read_lines(path: Path, content_name: str = "the corpus's list of utterances") -> Iterator[Line]:
    """Read the lines of a UTF-8 text file, without blank lines, byte-order mark and CRLF.

    ``content_name`` describes the file in the error if it is missing.

    Raises:
        DataError: the file is missing, not a file, or in UTF-16.
    """
    if not path.is_file():
        problem = "is not a file" if path.exists() else "no such file"
        raise DataError(f"{path}: {problem}; name {content_name}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{path}: is in UTF-16; save it as UTF-8")
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        line = raw.removesuffix(b"\r")
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            wrong = line[error.start]
            complaint = f"not UTF-8: byte 0x{wrong:02x} at column {error.start + 1}; save the file as UTF-8"
            yield Line(number, line.decode("utf-8", errors="replace"), complaint)
            continue
        complaint = f"holds a NUL character: column {text.index(chr(0)) + 1}" if "\0" in text else ""
        yield Line(number, text, complaint)


def clean_text(text: str) -> str:
    """Normalize the white space of a transcript to single spaces.

    Raises:
        ValueError: no letter or digit, or control characters; the message is a ``Reject`` reason.
    """
    joined = " ".join(text.split())
    for character in joined:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise ValueError(f"control character in the transcript: U+{ord(character):04X}")
    if not any(unicodedata.category(character)[0] in "LN" for character in joined):
        raise ValueError("empty transcript: no letter or digit" if joined else "empty transcript")
    return joined


def inside(folder: Path, name: str, *, allow_outside: bool) -> Path:
    """Resolve the file ``name`` of a corpus in ``folder``, following symbolic links.

    Raises:
        ValueError: it lies outside ``folder`` (and ``allow_outside`` is false) or cannot be a path.
    """
    if "\0" in name or not name.strip():
        raise ValueError(f"not a path: {name!r}")
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"not a path: {name!r}: {error}") from None
    if not (is_inside or allow_outside):
        raise ValueError(
            f"outside the corpus: {name!r:.200} leaves {folder}; set allow_outside: true to allow this"
        )
    return path


@dataclass
class EntryChecker:
    """Validates the entries of a corpus, each into an ``Utterance`` or a ``Reject``; duplicate ids are refused."""

    folder: Path
    allow_outside: bool = False
    _seen: dict[str, str] = field(default_factory=dict)

    def entry(self, *, id: Any, audio: Any, text: Any, where: str, speaker: Any = "") -> Utterance | Reject:
        """Validate one entry. ``audio``: name in ``folder``; ``where``: file, with a line number in a manifest."""
        label = id if isinstance(id, str) and id else where
        for key, value in (("id", id), ("audio", audio), ("text", text), ("speaker", speaker)):
            if not isinstance(value, str):
                return Reject(id=label, where=where, reason=f"{key} is not a string: {value!r:.60}")
            if surrogate := next((one for one in value if "\ud800" <= one <= "\udfff"), ""):
                reason = (
                    f"{key} is not Unicode: it holds the lone surrogate U+{ord(surrogate):04X}; rename it"
                )
                return Reject(id=label, where=where, reason=reason)
        try:
            check_id(id)
            path = inside(self.folder, audio, allow_outside=self.allow_outside)
            utterance = Utterance(id=id, audio=path, text=clean_text(text), speaker=speaker.strip())
        except ValueError as error:
            return Reject(id=label, where=where, reason=str(error))
        if id in self._seen:
            return Reject(id=id, where=where, reason=f"duplicate id: {id!r} is already at {self._seen[id]}")
        if not os.path.exists(path):
            return Reject(id=id, where=where, reason=f"no such file: {path!s:.300}")
        self._seen[id] = where
        return utterance


def check_id(id: str) -> None:
    """Raise ValueError unless ``id`` is 1 to 200 printable characters."""
    if not id.strip() or len(id) > LONGEST_ID or not id.isprintable():
        raise ValueError(f"unusable id: {id!r:.80} (1 to {LONGEST_ID} printable characters)")


def without_duplicates(items: Iterable[Utterance | Reject]) -> Iterator[Utterance | Reject]:
    """Replace each utterance whose id came before by a ``Reject``."""
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Utterance):
            if item.id in seen:
                yield Reject(id=item.id, where=str(item.audio), reason=f"duplicate id: {item.id!r}")
                continue
            seen.add(item.id)
        yield item


def corpus_folder(path: Path, description: str) -> Path:
    """Return ``path`` if it is a directory; ``description`` names the expected folder.

    Raises:
        DataError: it is not a directory.
    """
    if not path.is_dir():
        found = "is a file, not a folder" if path.exists() else "no such folder"
        raise DataError(f"{path}: {found}; data.config.path must be {description}")
    return path


def read_json_manifest(
    path: Path, *, speaker: str = "", allow_outside: bool = False
) -> Iterator[Utterance | Reject]:
    """Read a manifest of JSON lines (``id``, ``audio``, ``text`` and, if known, ``speaker``), in order.

    Other keys are ignored. ``speaker`` is the speaker of lines that name none. Audio paths are relative to the
    manifest's folder, and may lie outside it only if ``allow_outside``.

    Raises:
        DataError: there is no such manifest.
    """
    checker = EntryChecker(path.parent, allow_outside)
    for number, line, complaint in read_lines(path):
        where = f"{path}:{number}"
        fields, reason = ({}, complaint) if complaint else _parse(line)
        if reason:
            yield Reject(id=where, where=where, reason=reason)
            continue
        yield checker.entry(
            id=fields["id"],
            audio=fields["audio"],
            text=fields["text"],
            speaker=fields.get("speaker") or speaker,
            where=where,
        )


def _parse(line: str) -> tuple[dict[str, Any], str]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {error}"
    if not isinstance(fields, dict):
        return {}, 'not a JSON object: write {"id": ..., "audio": ..., "text": ...}'
    for key in NEEDED:
        if key not in fields:
            return {}, f"missing key: {key!r}{did_you_mean(key, fields)}"
    return fields, ""
