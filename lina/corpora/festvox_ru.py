"""The recordings behind Festival's Russian voice: 620 sentences read by Nickolay Shmyrev, 100 minutes at 16 kHz.

They come as the Debian package festvox-ru (179 MB), under a licence in the manner of BSD. Festival is not needed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lina.core.corpus.manifest import EntryChecker, corpus_folder, read_lines
from lina.core.errors import DataError
from lina.core.files import cache_folder
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
    """A folder with wav/ and etc/txt.done.data, or what `lina data get` made; by default the cache."""
    stress: bool = False
    """Whether the plus signs before some stressed vowels stay in the texts: ``вол+ос``."""


class FestvoxRussian(CorpusPlugin):
    """The sentences behind Festival's Russian voice, in the order of their list: 100 minutes of one man."""

    Config = FestvoxRussianConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": FestvoxRussianConfig()}

    @classmethod
    def read(cls, *, config: FestvoxRussianConfig) -> Iterator[Utterance | Reject]:
        """Every sentence.

        Raises:
            DataError: the recordings are nowhere; says how to get them.
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
            spoken = text if config.stress else text.replace("+", "")
            audio = f"{RECORDINGS}/{name}.wav"
            yield checker.entry(id=name, audio=audio, text=spoken, speaker=SPEAKER, where=where)

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Fetch the package into ``folder`` by ``apt-get download`` and unpack the recordings there (370 MB).

        Raises:
            DataError: no apt-get, no network, or a damaged package.
        """
        packages = debian.download((PACKAGE,), folder)
        return debian.unpack_whole(packages, folder, (f"{VOICE}/{RECORDINGS}", f"{VOICE}/{TEXTS}"))


def _voice(path: Path | None) -> Path:
    """The folder that holds wav/ and etc/."""
    if path is not None:
        corpus_folder(path, f"a folder with {RECORDINGS}/ and {TEXTS} in it")
    root = cache_folder() / PACKAGE if path is None else path
    for voice in (root, root / VOICE, root / "unpacked" / VOICE):
        if (voice / RECORDINGS).is_dir() and (voice / TEXTS).is_file():
            return voice
    raise DataError(f"{root}: holds no {RECORDINGS}/ with {TEXTS}; {HOW_TO_GET}")
