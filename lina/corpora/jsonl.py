"""A manifest: one JSON object a line, with ``id``, ``audio``, ``text`` and, where known, ``speaker``."""

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
        return read_json_manifest(config.path, speaker=config.speaker, allow_outside=config.allow_outside)
