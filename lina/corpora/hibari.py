"""Synthetic English speech of any sentences, by the voice of hibari-tts (Apache-2.0).

The voice is a small student of Kokoro-82M's ``af_heart``: 24 kHz, about 100 times real time on one core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.corpus.manifest import read_json_manifest, read_lines
from lina.core.errors import DataError
from lina.core.files.names import cache_folder
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance
from lina.corpora import wordnet
from lina.corpora.synthesis import MANIFEST, synthesize

SENTENCES = "sentences.txt"
DEFAULT_COUNT = 4_000
HOW_TO_GET = "run `lina data get hibari`, or set data.config.path"


class HibariConfig(PluginConfig):
    path: Path | None = None
    """The folder that `lina data get hibari --into` filled; by default the cache."""


class Hibari(CorpusPlugin):
    """Your own sentences, or WordNet's examples, spoken by hibari-tts: synthetic English, one female voice."""

    Config = HibariConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": HibariConfig()}

    @classmethod
    def read(cls, *, config: HibariConfig) -> Iterator[Utterance | Reject]:
        """Yield every synthesized sentence, in the order of the list.

        Raises:
            DataError: Nothing has been synthesized there; the message has the command.
        """
        folder = cache_folder() / "hibari" if config.path is None else config.path
        if not (folder / MANIFEST).is_file():
            raise DataError(f"{folder}: no {MANIFEST}, so nothing is synthesized there; {HOW_TO_GET}")
        return read_json_manifest(folder / MANIFEST)

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Synthesize ``folder``/sentences.txt, one sentence per line, on all cores; an interrupted call is resumed.

        A missing file is written first: 4,000 examples of WordNet (3.5 hours, 400 MB), from a package of 6 MB that
        ``apt-get`` fetches.

        Raises:
            DataError: There are no sentences, and none can be fetched.
            PluginError: hibari-tts is not installed.
        """
        path = folder / SENTENCES
        if not path.exists():
            fetched = wordnet.fetch(folder)[:DEFAULT_COUNT]
            path.write_text("\n".join(fetched) + "\n", encoding="utf-8")
        lines = list(read_lines(path))
        for line in lines:
            if line.complaint:
                raise DataError(f"{path}:{line.number}: {line.complaint}")
        if not lines:
            raise DataError(f"{path}: is empty; write one sentence per line, or delete it")
        synthesize((line.text.strip() for line in lines), folder)
        return folder
