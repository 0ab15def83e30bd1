"""The prompts of Asterisk in five languages: real recordings, one voice each, 23 to 29 minutes at 16 kHz.

They come as Debian packages: asterisk-core-sounds-LANGUAGE-g722 (sound) and asterisk-core-sounds-LANGUAGE (texts).
English, Spanish and French are CC-BY-SA-3.0, Italian and Russian CC-BY-3.0.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from lina.core.corpus.manifest import EntryChecker, corpus_folder
from lina.core.errors import DataError
from lina.core.files.names import cache_folder
from lina.core.plugin import CorpusPlugin, PluginConfig
from lina.core.utterance import Reject, Utterance
from lina.corpora import debian

SYSTEM_SHARE = Path("/usr/share")

BRACKETED = re.compile(r"\s*[\[(<][^\])>]*[\])>]\s*")
SOUND_REMARK = re.compile(r"\b(sound|tone|beep|silence)s?\b")


class Prompts(NamedTuple):
    """File locations in the packages of one language."""

    language: str
    voice: str
    speaker: str

    @property
    def name(self) -> str:
        return f"asterisk-{self.language}"

    @property
    def packages(self) -> tuple[str, str]:
        return (f"asterisk-core-sounds-{self.language}-g722", f"asterisk-core-sounds-{self.language}")

    @property
    def sounds(self) -> str:
        return f"asterisk/sounds/{self.voice}"

    @property
    def texts(self) -> str:
        return f"doc/{self.packages[1]}/core-sounds-{self.language}.txt.gz"

    @property
    def how_to_get(self) -> str:
        return f"run `lina data get {self.name}` (Debian or Ubuntu, no root), or set data.config.path"


class AsteriskConfig(PluginConfig):
    path: Path | None = None
    """A folder with the two .deb files, or with their content; by default that of the system or the cache."""
    min_words: int = Field(default=1, ge=1)
    """Shorter prompts are left out (not rejected): 3 leaves half of them, 20 minutes of English."""


class Asterisk(CorpusPlugin):
    """Reads the prompts in the order of their list.

    Texts are as in the list, without remarks in brackets (``at [@]`` is "at"). Prompts that consist of a remark
    (tones, silence, monkeys), or contain a tone, are a ``Reject``: 18 of 569 in English; one text has no recording.
    """

    Config = AsteriskConfig
    prompts: ClassVar[Prompts]

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": AsteriskConfig()}

    @classmethod
    def read(cls, *, config: AsteriskConfig) -> Iterator[Utterance | Reject]:
        """Yield every prompt.

        Raises:
            DataError: The packages are not found or damaged; the message has the command that fetches them.
        """
        prompts = cls.prompts
        share = _share(prompts, config.path)
        checker = EntryChecker(share / prompts.sounds)
        for number, name, text in _listed(prompts, share / prompts.texts):
            where = f"{share / prompts.texts}:{number}"
            words = _without_remarks(text)
            if not words:
                yield Reject(id=name, where=where, reason=f"not speech: {text}")
            elif len(words.split()) >= config.min_words:
                yield checker.entry(
                    id=name, audio=f"{name}.g722", text=words, speaker=prompts.speaker, where=where
                )

    @classmethod
    def get(cls, folder: Path) -> Path:
        """Fetch both packages into ``folder`` by ``apt-get download`` (11 to 13 MB) and unpack them there.

        Raises:
            DataError: No apt-get, no network, or damaged packages.
        """
        packages = debian.download(cls.prompts.packages, folder)
        return _unpacked(cls.prompts, packages, folder)


class AsteriskEnglish(Asterisk):
    """The English prompts of Asterisk, by Allison Smith: 24 minutes."""

    prompts = Prompts("en", "en_US_f_Allison", "allison")


class AsteriskSpanish(Asterisk):
    """The Mexican Spanish prompts of Asterisk, by Allison Smith: 29 minutes; their texts have no accents."""

    prompts = Prompts("es", "es_MX_f_Allison", "allison")


class AsteriskFrench(Asterisk):
    """The Canadian French prompts of Asterisk, by June Wallack: 24 minutes."""

    prompts = Prompts("fr", "fr_CA_f_June", "june")


class AsteriskItalian(Asterisk):
    """The Italian prompts of Asterisk, by Carlo Flora: 23 minutes."""

    prompts = Prompts("it", "it_IT_m_Carlo", "carlo")


class AsteriskRussian(Asterisk):
    """The Russian prompts of Asterisk, by ivrvoice.ru: 23 minutes."""

    prompts = Prompts("ru", "ru_RU_f_IvrvoiceRU", "ivrvoice")


def _listed(prompts: Prompts, path: Path) -> Iterator[tuple[int, str, str]]:
    try:
        content = gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the list of texts cannot be read: {error}; {prompts.how_to_get}") from None
    for number, line in enumerate(content.splitlines(), start=1):
        name, colon, text = line.strip().partition(":")
        if colon and not name.startswith(";"):
            yield number, name.strip(), text.strip()


def _without_remarks(text: str) -> str:
    """Remove the remarks of a text; "" if nothing is left, or if a remark mentions a sound."""
    remarks = BRACKETED.findall(text)
    if any(SOUND_REMARK.search(remark) for remark in remarks):
        return ""
    return BRACKETED.sub(" ", text).strip()


def _share(prompts: Prompts, path: Path | None) -> Path:
    """Find the folder that corresponds to /usr/share."""
    if path is None:
        cached = cache_folder() / prompts.name
        for share in (SYSTEM_SHARE, cached / "unpacked" / "usr" / "share"):
            if _complete(prompts, share):
                return share
        raise DataError(
            f"{prompts.name}: neither in {SYSTEM_SHARE / prompts.sounds} nor in {cached}; {prompts.how_to_get}"
        )
    corpus_folder(path, f"a folder with the packages {' and '.join(prompts.packages)}, or with their files")
    for share in (path, path / "share", path / "usr" / "share", path / "unpacked" / "usr" / "share"):
        if _complete(prompts, share):
            return share
    packages = sorted(path.glob(f"{prompts.packages[1]}*.deb"))
    found = {package.name.split("_")[0] for package in packages}
    missing = [name for name in prompts.packages if name not in found]
    if missing:
        raise DataError(f"{path}: {' and '.join(missing)} (.deb or unpacked) not found; {prompts.how_to_get}")
    key = hashlib.sha256(b"".join(hashlib.sha256(deb.read_bytes()).digest() for deb in packages)).hexdigest()
    share = cache_folder() / prompts.name / key[:16] / "unpacked" / "usr" / "share"
    if not _complete(prompts, share):
        _unpacked(prompts, packages, share.parents[2])
    return share


def _complete(prompts: Prompts, share: Path) -> bool:
    return (share / prompts.sounds).is_dir() and (share / prompts.texts).is_file()


def _unpacked(prompts: Prompts, packages: list[Path], folder: Path) -> Path:
    prefixes = (f"usr/share/{prompts.sounds}/", f"usr/share/{prompts.texts}")
    return debian.unpack_whole(packages, folder, prefixes)
