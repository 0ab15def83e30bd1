"""The recordings behind Festival's Russian voice: 620 sentences read by Nickolay Shmyrev, 100 minutes at 16 kHz.

They come as the Debian package festvox-ru (179 MB), under a BSD-like license. Festival is not needed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.corpus.manifest import EntryChecker, corpus_folder, read_lines
from lina.core.errors import DataError
from lina.core.files.names import cache_folder
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance
from lina.corpora import debian

PACKAGE = "festvox-ru"
VOICE = "usr/share/festival/voices/russian/msu_ru_nsh_clunits"
RECORDINGS, TEXTS = "wav", "etc/txt.done.data"
SPEAKER = "shmyrev"
HOW_TO_GET = "run `lina data get festvox-ru` (Debian or Ubuntu, no root), or set data.config.path"

ENTRY = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')


class FestvoxRussianConfig(PluginConfig):
    path: Path | None = None
    """A folder with wav/ and etc/txt.done.data, or the output of `lina data get`; by default the cache."""
    stress: bool = False
    """Keep the plus signs before some stressed vowels: ``вол+ос``."""


class FestvoxRussian(CorpusPlugin):
    """The sentences behind Festival's Russian voice, in the order of their list: 100 minutes of one man."""

    Config = FestvoxRussianConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": FestvoxRussianConfig()}

    @classmethod
    def read(cls, *, config: FestvoxRussianConfig) -> Iterator[Utterance | Reject]:
        """Yield every sentence.

        Raises:
            DataError: The recordings are not found; the message has the command that fetches them.
        """
        voice = _voice(config.path)
        checker = EntryChecker(voice)
        for number, line, complaint in read_lines(voice / TEXTS):
            where = f"{voice / TEXTS}:{number}"
            entry = ENTRY.fullmatch(line.strip())
            if complaint or entry is None:
                reason = complaint or 'not an entry: ( name "text" )'
                yield Reject(id=where, where=where, reason=reason)
                continue
            name, text = entry.groups()
            words = text if config.stress else text.replace("+", "")
            audio = f"{RECORDINGS}/{name}.wav"
            yield checker.entry(id=name, audio=audio, text=words, speaker=SPEAKER, where=where)

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Fetch the package into ``folder`` by ``apt-get download`` and unpack the recordings there (370 MB).

        Raises:
            DataError: No apt-get, no network, or a damaged package.
        """
        packages = debian.download((PACKAGE,), folder)
        return debian.unpack_whole(packages, folder, (f"{VOICE}/{RECORDINGS}", f"{VOICE}/{TEXTS}"))


def _voice(path: Path | None) -> Path:
    """Find the folder with wav/ and etc/."""
    if path is not None:
        corpus_folder(path, f"a folder with {RECORDINGS}/ and {TEXTS} in it")
    root = cache_folder() / PACKAGE if path is None else path
    for voice in (root, root / VOICE, root / "unpacked" / VOICE):
        if (voice / RECORDINGS).is_dir() and (voice / TEXTS).is_file():
            return voice
    raise DataError(f"{root}: holds no {RECORDINGS}/ with {TEXTS}; {HOW_TO_GET}")
