from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lina.core.errors import DataError
from lina.core.plugin import CorpusPlugin
from lina.core.utterance import Reject, Utterance
from lina.data.inspect import DURATION_EDGES, get_corpus, inspect_corpus


def recording(folder: Path, name: str, seconds: float, text: str, speaker: str = "") -> Utterance:
    soundfile.write(folder / f"{name}.wav", [0.1, -0.1] * int(seconds * 4_000), 8_000)
    return Utterance(id=name, audio=folder / f"{name}.wav", text=text, speaker=speaker)


@pytest.fixture
def items(tmp_path: Path) -> list[Utterance | Reject]:
    return [
        recording(tmp_path, "a", 0.25, "ab a", "ann"),
        recording(tmp_path, "b", 2.0, "é", "bob"),
        recording(tmp_path, "c", 2.5, "a", "ann"),
        recording(tmp_path, "a", 0.25, "again", "ann"),
        Reject(id="x", where="list:3", reason="empty transcript"),
        Reject(id="y", where="list:4", reason="no such file: y.wav"),
        Reject(id="z", where="list:5", reason="no such file: z.wav"),
    ]


def test_numbers(items: list[Utterance | Reject]) -> None:
    seen: list[int] = []
    statistics = inspect_corpus(items, report=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert statistics.utterances == 3
    assert statistics.seconds == pytest.approx(4.75)
    assert statistics.minutes == pytest.approx(4.75 / 60)
    assert (statistics.shortest, statistics.median, statistics.longest) == (0.25, 2.0, 2.5)
    bins = {DURATION_EDGES[place]: count for place, count in enumerate(statistics.histogram) if count}
    assert bins == {0.0: 1, 2.0: 2}
    assert statistics.speakers == {"ann": 2, "bob": 1}
    assert statistics.characters == {" ": 1, "a": 3, "b": 1, "é": 1}
    assert statistics.words == 4
    assert statistics.reject_kinds == {"no such file": 2, "duplicate id": 1, "empty transcript": 1}


def test_decoding_finds_what_headers_hide(items: list[Utterance | Reject], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", [0.0] * 8_000, 8_000)
    items.append(Utterance(id="silent", audio=tmp_path / "silent.wav", text="hush"))
    assert inspect_corpus(items).utterances == 4
    statistics = inspect_corpus(items, decode=True, max_seconds=2.2)
    assert statistics.utterances == 2
    assert statistics.reject_kinds["is silent"] == 1
    assert statistics.reject_kinds["too long"] == 1


def test_unreadable_recordings_are_counted_without_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("hello")
    statistics = inspect_corpus([Utterance(id="a", audio=tmp_path / "a.wav", text="x")])
    assert statistics.reject_kinds == {"cannot be decoded": 1}
    assert (statistics.utterances, statistics.seconds, statistics.longest) == (0, 0.0, 0.0)


class Local(CorpusPlugin):
    @classmethod
    def example(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def read(cls, *, config: Any) -> Iterator[Utterance | Reject]:
        return iter(())


class Fetched(Local):
    @classmethod
    def get(cls, folder: Path) -> Path:
        return folder


def test_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path))
    assert get_corpus(Fetched, "name") == tmp_path / "name"
    assert get_corpus(Fetched, "name", tmp_path / "here") == tmp_path / "here"
    monkeypatch.delenv("LINA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert get_corpus(Fetched, "name") == tmp_path / "xdg/lina/name"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert get_corpus(Fetched, "name") == tmp_path / "home/.cache/lina/name"


def test_nothing_to_get() -> None:
    with pytest.raises(
        DataError, match=r"nothing to fetch; this corpus reads the files that data\.config\.path names"
    ):
        get_corpus(Local, "local")
