from pathlib import Path
from typing import Any

import pytest

from lina.core.errors import DataError
from lina.core.utterance import Reject, Utterance
from lina.corpora import debian
from lina.corpora.festvox_ru import VOICE, FestvoxRussian, FestvoxRussianConfig
from lina.data.inspect import get_corpus

from .packages import package

LIST = """( ru_0001 "Вол+ос  к в+олосу." )
( ru_0002 "Он сказал: "да"" )
ru_0003 no brackets
( ru_0004 "Не записано." )
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))


def festvox(
    folder: Path,
    names: tuple[str, ...] = ("wav/ru_0001.wav", "wav/ru_0002.wav", "etc/txt.done.data", "lab/ru_0001.lab"),
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"./{VOICE}/{name}": LIST.encode() if name.startswith("etc") else b"RIFF" for name in names}
    (folder / "festvox-ru_1-1_all.deb").write_bytes(package(files))
    return folder


def read(**config: Any) -> list[Utterance | Reject]:
    return list(FestvoxRussian.read(config=FestvoxRussianConfig(**config)))


def test_get_puts_it_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "download", lambda names, folder: sorted(festvox(folder).glob("*.deb")))
    with pytest.raises(DataError, match=r"festvox-ru: holds no wav/ .* run `lina data get festvox-ru`"):
        read()
    folder = get_corpus(FestvoxRussian, "festvox-ru")
    assert folder == tmp_path / "cache/festvox-ru"
    assert read() == read(path=folder) == read(path=folder / "unpacked" / VOICE)
    assert not list(folder.rglob("*.lab"))
    utterances = [item for item in read() if isinstance(item, Utterance)]
    assert [(item.id, item.text, item.speaker) for item in utterances] == [
        ("ru_0001", "Волос к волосу.", "shmyrev"),
        ("ru_0002", 'Он сказал: "да"', "shmyrev"),
    ]
    assert all(item.audio.is_file() for item in utterances)
    first, *_ = read(stress=True)
    assert isinstance(first, Utterance)
    assert first.text == "Вол+ос к в+олосу."


def test_entries_without_form_or_recording_are_rejected(tmp_path: Path) -> None:
    for deb in festvox(tmp_path / "debs").glob("*.deb"):
        debian.unpack(deb, tmp_path / "tree", lambda name: True)
    rejects = [item for item in read(path=tmp_path / "tree" / VOICE) if isinstance(item, Reject)]
    assert [item.reason.split(":")[0] for item in rejects] == ["not an entry", "no such file"]
    assert rejects[0].where.endswith("txt.done.data:3")


def test_a_package_without_recordings_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(names: tuple[str, ...], folder: Path) -> list[Path]:
        return sorted(festvox(folder, ("etc/txt.done.data",)).glob("*.deb"))

    monkeypatch.setattr(debian, "download", download)
    with pytest.raises(DataError, match=r"the packages hold no .*/wav; another version of them\?"):
        FestvoxRussian.get(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["festvox-ru_1-1_all.deb"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder"):
        read(path=tmp_path / "none")
