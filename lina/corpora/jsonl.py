"""A manifest: one JSON object a line, with ``id``, ``audio``, ``text`` and, where known, ``speaker``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.errors import did_you_mean
from lina.core.manifest import Checker, read_lines
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance

NEEDED = ("id", "audio", "text")


class JSONLConfig(PluginConfig):
    path: Path
    """The manifest. Audio paths in it are relative to its folder."""
    allow_outside: bool = False
    """Whether audio may lie outside the manifest's folder."""
    speaker: str = ""
    """The speaker of lines that name none."""


class JSONL(CorpusPlugin):
    """Reads a JSONL manifest. Other keys in its lines are left alone."""

    Config = JSONLConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": JSONLConfig(path=Path("manifest.jsonl"))}

    @classmethod
    def read(cls, *, config: JSONLConfig) -> Iterator[Utterance | Reject]:
        """Every line of the manifest, in order.

        Raises:
            DataError: there is no such manifest.
        """
        checker = Checker(config.path.parent, config.allow_outside)
        for number, line, complaint in read_lines(config.path):
            where = f"{config.path}:{number}"
            fields, reason = ({}, complaint) if complaint else _parse(line)
            if reason:
                yield Reject(id=where, where=where, reason=reason)
                continue
            yield checker.entry(
                id=fields["id"],
                audio=fields["audio"],
                text=fields["text"],
                speaker=fields.get("speaker") or config.speaker,
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
