"""JSON-lines manifests: one object per line, with ``id``, ``audio``, ``text`` and, if known, ``speaker``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.corpus.manifest import read_json_manifest
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance


class JSONLConfig(PluginConfig):
    path: Path
    """The manifest. Audio paths in it are relative to its folder."""
    allow_outside: bool = False
    """Accept audio outside the manifest's folder."""
    speaker: str = ""
    """Speaker of lines without one."""


class JSONL(CorpusPlugin):
    """Reads a JSONL manifest. Other keys in its lines are ignored."""

    Config = JSONLConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": JSONLConfig(path=Path("manifest.jsonl"))}

    @classmethod
    def read(cls, *, config: JSONLConfig) -> Iterator[Utterance | Reject]:
        """Yield every line of the manifest, in order.

        Raises:
            DataError: There is no such manifest.
        """
        return read_json_manifest(config.path, speaker=config.speaker, allow_outside=config.allow_outside)
