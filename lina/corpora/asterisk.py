"""The English prompts of Asterisk: real recordings by Allison Smith, 24 minutes at 16 kHz, CC-BY-SA-3.0.

They come as the Debian packages asterisk-core-sounds-en-g722 (sound) and asterisk-core-sounds-en (texts).
"""

import gzip
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from lina.core.cache import cache_folder
from lina.core.errors import DataError
from lina.core.manifest import Checker, corpus_folder
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance
from lina.corpora import debian

PACKAGES = ("asterisk-core-sounds-en-g722", "asterisk-core-sounds-en")
SOUNDS = "asterisk/sounds/en_US_f_Allison"
TEXTS = "doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
SYSTEM_SHARE = Path("/usr/share")
SPEAKER = "allison"
HOW_TO_GET = "run `lina data get asterisk-en` (Debian or Ubuntu, no root), or set data.config.path"

BRACKETED = re.compile(r"\s*[\[(<][^\])>]*[\])>]\s*")
SOUND_REMARK = re.compile(r"\b(sound|tone|beep|silence)s?\b")


class AsteriskConfig(PluginConfig):
    path: Path | None = None
    """A folder with the two .deb files, or with what they hold; by default what the system or cache has."""
    min_words: int = Field(default=1, ge=1)
    """Shorter prompts are left out (not rejected): 3 leaves 269 sentences, 20 minutes."""


class AsteriskEnglish(CorpusPlugin):
    """Reads the prompts in the order of their list.

    Texts are as in the list, remarks in brackets taken off (``at [@]`` is "at"). What is nothing but a remark
    (tones, silence, monkeys), or has a tone in it, is a ``Reject``: 18 of 569, and one text has no recording.
    """

    Config = AsteriskConfig

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": AsteriskConfig()}

    @classmethod
    def read(cls, *, config: AsteriskConfig) -> Iterator[Utterance | Reject]:
        """Every prompt.

        Raises:
            DataError: the packages are nowhere, or damaged; says how to get them.
        """
        share = _share(config.path)
        checker = Checker(share / SOUNDS)
        for number, name, text in _prompts(share / TEXTS):
            where = f"{share / TEXTS}:{number}"
            spoken = _spoken(text)
            if not spoken:
                yield Reject(id=name, where=where, reason=f"not speech: {text}")
            elif len(spoken.split()) >= config.min_words:
                yield checker.entry(id=name, audio=f"{name}.g722", text=spoken, speaker=SPEAKER, where=where)

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Fetch both packages into ``folder`` by ``apt-get download`` (11 MB) and unpack them there.

        Raises:
            DataError: no apt-get, no network, or damaged packages.
        """
        packages = debian.download(PACKAGES, folder)
        return _unpacked(packages, folder)


def _prompts(path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        content = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the list of texts cannot be read: {error}; {HOW_TO_GET}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        name, colon, text = line.strip().partition(":")
        if colon and not name.startswith(";"):
            yield number, name.strip(), text.strip()


def _spoken(text: str) -> str:
    """The text without remarks; "" if it is nothing else, or if a remark tells of a sound."""
    remarks = BRACKETED.findall(text)
    if any(SOUND_REMARK.search(remark) for remark in remarks):
        return ""
    return BRACKETED.sub(" ", text).strip()


def _share(path: Path | None) -> Path:
    """The folder that plays the part of /usr/share."""
    if path is None:
        cached = cache_folder() / "asterisk-en"
        for share in (SYSTEM_SHARE, cached / "unpacked" / "usr" / "share"):
            if _complete(share):
                return share
        raise DataError(f"asterisk-en: neither in {SYSTEM_SHARE / SOUNDS} nor in {cached}; {HOW_TO_GET}")
    corpus_folder(path, f"a folder with the packages {' and '.join(PACKAGES)}, or with their files")
    for share in (path, path / "share", path / "usr" / "share", path / "unpacked" / "usr" / "share"):
        if _complete(share):
            return share
    packages = sorted(path.glob("asterisk-core-sounds-en*.deb"))
    found = {package.name.split("_")[0] for package in packages}
    missing = [name for name in PACKAGES if name not in found]
    if missing:
        raise DataError(f"{path}: {' and '.join(missing)} (.deb or unpacked) not found; {HOW_TO_GET}")
    key = hashlib.sha256(b"".join(hashlib.sha256(deb.read_bytes()).digest() for deb in packages)).hexdigest()
    share = cache_folder() / "asterisk-en" / key[:16] / "unpacked" / "usr" / "share"
    if not _complete(share):
        _unpacked(packages, share.parents[2])
    return share


def _complete(share: Path) -> bool:
    return (share / SOUNDS).is_dir() and (share / TEXTS).is_file()


def _unpacked(packages: list[Path], folder: Path) -> Path:
    """Unpack into ``folder``/unpacked, whole or not at all; gives ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        for package in packages:
            debian.unpack(package, partial, _wanted)
        if not _complete(partial / "usr" / "share"):
            raise DataError(
                f"{folder}: the packages hold no {SOUNDS} or no {TEXTS}; another version of them?"
            )
        target = folder / "unpacked"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _wanted(name: str) -> bool:
    return name.startswith((f"usr/share/{SOUNDS}/", "usr/share/doc/asterisk-core-sounds-en"))
