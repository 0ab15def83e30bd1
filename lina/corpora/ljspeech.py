"""LJSpeech's layout: ``metadata.csv`` with lines ``id|text|normalized text``, recordings in ``wavs/``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from lina.core.corpus.manifest import EntryChecker, corpus_folder, read_lines
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.renames import Renames
from lina.core.utterance import Reject, Utterance


class LJSpeechConfig(PluginConfig):
    renames: ClassVar[Renames] = Renames(values={"text": {"normalised": "normalized"}})

    path: Path
    """The folder that holds the metadata."""
    metadata: str = "metadata.csv"
    audio: str = "wavs"
    """The folder of the recordings, in ``path``."""
    suffix: str = ".wav"
    text: Literal["normalized", "raw"] = "normalized"
    """``normalized`` is the third column (the second where there are only two), ``raw`` the second."""
    speaker: str = ""
    allow_outside: bool = False


class LJSpeech(CorpusPlugin):
    """Reads LJSpeech and its many look-alikes. Quotation marks are part of the text."""

    Config = LJSpeechConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": LJSpeechConfig(path=Path("LJSpeech-1.1"))}

    @classmethod
    def read(cls, *, config: LJSpeechConfig) -> Iterator[Utterance | Reject]:
        """Yield every line of the metadata, in order.

        Raises:
            DataError: There is no such folder or no metadata in it.
        """
        root = corpus_folder(config.path, f"a folder with {config.metadata} and {config.audio}/ in it")
        checker = EntryChecker(root, config.allow_outside)
        for number, line, complaint in read_lines(root / config.metadata):
            where = f"{root / config.metadata}:{number}"
            columns = line.split("|")
            if not complaint and len(columns) not in (2, 3):
                complaint = f"not id|text|normalized text: {len(columns)} columns"
            if complaint:
                yield Reject(id=where, where=where, reason=complaint)
                continue
            name = columns[0].strip()
            yield checker.entry(
                id=name,
                audio=f"{config.audio}/{name}{config.suffix}",
                text=columns[1] if config.text == "raw" else columns[-1],
                speaker=config.speaker,
                where=where,
            )
