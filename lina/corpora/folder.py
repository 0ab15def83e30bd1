"""A folder of recordings, each with its text beside it: ``hello.wav`` and ``hello.txt`` or ``hello.lab``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lina.core.audio.read import AUDIO_SUFFIXES
from lina.core.corpus.manifest import EntryChecker, corpus_folder, read_lines
from lina.core.errors import DataError
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance

TEXT_SUFFIXES = (".txt", ".lab")
# Companions of a corpus that are not transcripts.
DOCUMENTS = ("readme", "license", "licence", "copying", "copyright", "metadata", "changelog")


class FolderConfig(PluginConfig):
    path: Path
    """The folder; searched recursively."""
    speaker: str = ""
    """Speaker of all recordings."""
    speakers: Literal["one", "folders"] = "one"
    """``folders``: the name of the folder that a recording lies in is its speaker."""
    allow_outside: bool = False
    """Accept symbolic links that lead out of the folder."""


class Folder(CorpusPlugin):
    """Reads a folder, sorted by path. The id is the path in the folder without its suffix."""

    Config = FolderConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": FolderConfig(path=Path("recordings"))}

    @classmethod
    def read(cls, *, config: FolderConfig) -> Iterator[Utterance | Reject]:
        """Yield every recording, and a ``Reject`` for each recording without text and each text without recording.

        Raises:
            DataError: There is no such folder, or no recording in it.
        """
        root = corpus_folder(config.path, "a folder of recordings with a .txt beside each")
        files = sorted(
            path for path in root.rglob("*") if not path.is_dir() and not path.name.startswith(".")
        )
        recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
        if not recordings:
            raise DataError(f"{root}: no recordings in it; put {', '.join(AUDIO_SUFFIXES)} files there")
        recorded = set(recordings)
        stems = {path.with_suffix("") for path in recordings}
        checker = EntryChecker(root, config.allow_outside)
        for path in files:
            if path in recorded:
                yield _entry(path, root, config, checker)
            elif _is_lost_text(path, stems):
                yield Reject(id=_id(path, root), where=str(path), reason="no recording beside this text")


def _entry(path: Path, root: Path, config: FolderConfig, checker: EntryChecker) -> Utterance | Reject:
    beside = [path.with_suffix(suffix) for suffix in TEXT_SUFFIXES]
    transcript = next((text for text in beside if text.is_file()), None)
    if transcript is None:
        names = " nor ".join(text.name for text in beside)
        return Reject(id=_id(path, root), where=str(path), reason=f"no transcript: neither {names} beside it")
    try:
        lines = list(read_lines(transcript))
    except DataError as error:  # such as UTF-16: a fault of this file, not of the corpus
        reason = str(error).removeprefix(f"{transcript}: ")
        return Reject(id=_id(path, root), where=str(transcript), reason=reason)
    for line in lines:
        if line.complaint:
            return Reject(id=_id(path, root), where=f"{transcript}:{line.number}", reason=line.complaint)
    return checker.entry(
        id=_id(path, root),
        audio=path.relative_to(root).as_posix(),
        text=" ".join(line.text for line in lines),
        speaker=path.parent.name if config.speakers == "folders" else config.speaker,
        where=str(transcript),
    )


def _is_lost_text(path: Path, stems: set[Path]) -> bool:
    is_text = path.suffix.lower() in TEXT_SUFFIXES and not path.stem.lower().startswith(DOCUMENTS)
    return is_text and path.with_suffix("") not in stems


def _id(path: Path, root: Path) -> str:
    return path.relative_to(root).with_suffix("").as_posix()
