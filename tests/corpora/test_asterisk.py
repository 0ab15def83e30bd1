import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance
from lina.corpora import asterisk as module
from lina.corpora import debian
from lina.corpora.asterisk import (
    AsteriskConfig,
    AsteriskEnglish,
    AsteriskFrench,
    AsteriskItalian,
    AsteriskRussian,
    AsteriskSpanish,
)
from lina.data.inspect import get_corpus
from tests.corpora.entries import utterances

from .packages import SOUNDS, TEXTS, asterisk, package


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SYSTEM_SHARE", tmp_path / "system")


def read(**config: Any) -> list[Utterance | Reject]:
    return list(AsteriskEnglish.read(config=AsteriskConfig(**config)))


def check(items: list[Utterance | Reject]) -> None:
    texts = {item.id: item.text for item in items if isinstance(item, Utterance)}
    assert texts == {"hello": "Hello, world.", "dir/at": "at", "menu": "Press 1: for help", "iax": "IAX"}
    assert {item.speaker for item in items if isinstance(item, Utterance)} == {"allison"}
    reasons = {item.id: item.reason.split(":")[0] for item in items if isinstance(item, Reject)}
    not_speech = dict.fromkeys(("beep", "silence/1", "join", "intro"), "not speech")
    assert reasons == not_speech | {"gone": "no such file"}
    assert all(item.audio.is_file() for item in items if isinstance(item, Utterance))


def test_packages_are_unpacked_once(tmp_path: Path) -> None:
    items = read(path=asterisk(tmp_path / "debs"))
    check(items)
    first = items[0]
    assert isinstance(first, Utterance)
    written = first.audio.stat().st_mtime_ns
    assert read(path=tmp_path / "debs") == items
    assert first.audio.stat().st_mtime_ns == written
    assert sorted(path.suffix for path in (tmp_path / "debs").iterdir()) == [".deb", ".deb"]
    reject = next(item for item in items if isinstance(item, Reject) and item.id == "beep")
    assert reject.where.endswith("core-sounds-en.txt.gz:6")


def test_unpacked_trees(tmp_path: Path) -> None:
    asterisk(tmp_path / "debs")
    for deb in (tmp_path / "debs").glob("*.deb"):
        debian.unpack(deb, tmp_path / "tree", lambda name: True)
    for folder in ("tree", "tree/usr", "tree/usr/share"):
        check(read(path=tmp_path / folder))


def test_the_installed_packages_come_first(tmp_path: Path) -> None:
    asterisk(tmp_path / "debs")
    for deb in (tmp_path / "debs").glob("*.deb"):
        debian.unpack(deb, tmp_path / "tree", lambda name: True)
    shutil.move(tmp_path / "tree/usr/share", tmp_path / "system")
    items = read()
    check(items)
    assert isinstance(items[0], Utterance)
    assert items[0].audio.is_relative_to(tmp_path / "system")


def test_get_puts_it_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(packages: Sequence[str], folder: Path) -> list[Path]:
        assert packages == AsteriskEnglish.prompts.packages
        return sorted(asterisk(folder).glob("*.deb"))

    monkeypatch.setattr(debian, "download", download)
    with pytest.raises(DataError, match=r"asterisk-en: neither in .* run `lina data get asterisk-en`"):
        read()
    assert get_corpus(AsteriskEnglish, "asterisk-en") == tmp_path / "cache/asterisk-en"
    check(read())
    check(read(path=get_corpus(AsteriskEnglish, "asterisk-en", tmp_path / "mine")))
    get_corpus(AsteriskEnglish, "asterisk-en")
    check(read())
    assert not list((tmp_path / "cache/asterisk-en").glob(".unpack-*"))


def test_few_words_are_left_out(tmp_path: Path) -> None:
    asterisk(tmp_path / "debs")
    kept = [item.id for item in read(path=tmp_path / "debs", min_words=3) if isinstance(item, Utterance)]
    assert kept == ["menu"]


def test_one_package_is_missing(tmp_path: Path) -> None:
    asterisk(tmp_path / "debs")
    (tmp_path / "debs" / "asterisk-core-sounds-en_1-1_all.deb").unlink()
    with pytest.raises(
        DataError, match=r"debs: asterisk-core-sounds-en \(\.deb or unpacked\) not found; run"
    ):
        read(path=tmp_path / "debs")
    with pytest.raises(DataError, match="none: no such folder"):
        read(path=tmp_path / "none")


def test_damaged_packages_leave_nothing_behind(tmp_path: Path) -> None:
    asterisk(tmp_path / "debs")
    sound = next((tmp_path / "debs").glob("*g722*"))
    sound.write_bytes(sound.read_bytes()[:-50])
    with pytest.raises(DataError, match="is truncated"):
        read(path=tmp_path / "debs")
    sound.write_bytes(package({"./usr/share/other": b"x"}))
    with pytest.raises(DataError, match="the packages hold no usr/share/asterisk/sounds"):
        read(path=tmp_path / "debs")
    assert not list((tmp_path / "cache").rglob("unpacked"))
    assert not list((tmp_path / "cache").rglob(".unpack-*"))


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"hello: x\n", mtime=0)[:-4], gzip.compress(b"hello: \xe9\n", mtime=0)],
    ids=["not-gzip", "cut", "not-utf-8"],
)
def test_unreadable_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SOUNDS).mkdir(parents=True)
    (tmp_path / TEXTS).parent.mkdir(parents=True)
    (tmp_path / TEXTS).write_bytes(content)
    with pytest.raises(
        DataError, match=r"the list of texts cannot be read: .* run `lina data get asterisk-en`"
    ):
        read(path=tmp_path)


@pytest.mark.parametrize("language", ["en", "es", "fr", "it", "ru"])
def test_other_languages_have_the_same_layout(tmp_path: Path, language: str) -> None:
    plugin = {
        one.prompts.language: one
        for one in (AsteriskEnglish, AsteriskSpanish, AsteriskFrench, AsteriskItalian, AsteriskRussian)
    }[language]
    share = tmp_path / "share"
    sounds = share / plugin.prompts.sounds
    sounds.mkdir(parents=True)
    (sounds / "yes.g722").write_bytes(b"x")
    texts = share / f"doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    texts.parent.mkdir(parents=True)
    texts.write_bytes(gzip.compress("\ufeff; Liste\nyes: sì [да]\n".encode()))
    (item,) = utterances(plugin.read(config=AsteriskConfig(path=tmp_path)))
    assert (item.id, item.text, item.speaker) == ("yes", "sì", plugin.prompts.speaker)
    with pytest.raises(DataError, match=f"run `lina data get asterisk-{language}`"):
        list(plugin.read(config=AsteriskConfig()))
