"""A manifest: one JSON object a line, with ``id``, ``audio``, ``text`` and, where known, ``speaker``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.corpus.manifest import Checker, read_lines
from lina.core.errors import did_you_mean
from lina.core.utterance import Reject, Utterance

NEEDED = ("id", "audio", "text")


def read_json_manifest(
    path: Path, *, speaker: str = "", allow_outside: bool = False
) -> Iterator[Utterance | Reject]:
    """Every line of the manifest, in order; other keys in its lines are left alone.

    ``speaker`` speaks the lines that name none. Audio paths are relative to the manifest's folder, and may lie
    outside of it only if ``allow_outside``.

    Raises:
        DataError: there is no such manifest.
    """
    checker = Checker(path.parent, allow_outside)
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
