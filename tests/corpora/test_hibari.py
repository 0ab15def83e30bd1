import os
import sys
from pathlib import Path

import pytest

from lina.core.audio.read import read_audio
from lina.core.errors import DataError, PluginError
from lina.core.utterance import Reject, Utterance
from lina.corpora import hibari, wordnet
from lina.corpora.hibari import Hibari, HibariConfig
from lina.corpora.synthesis import synthesize
from tests.corpora.entries import utterances

SENTENCES = ["Yes.", "Go on.", "No."]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of one core. Several processes are tested by ``test_any_number_of_processes``."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})


def read(path: Path) -> list[Utterance | Reject]:
    return list(Hibari.read(config=HibariConfig(path=path)))


def test_any_number_of_processes_writes_the_same(tmp_path: Path) -> None:
    minutes = synthesize(SENTENCES, tmp_path / "one", processes=1)
    assert synthesize(SENTENCES, tmp_path / "two", processes=2) == minutes > 0.01
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert [item.text for item in utterances(read(tmp_path / "one"))] == SENTENCES
    assert read_audio(utterances(read(tmp_path / "one"))[0].audio, 24_000).abs().max() > 0.1


@pytest.mark.usefixtures("one_process")
def test_sentences_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "sentences.txt").write_text("Yes.\n\n No.\nYes.\n…\n")
    assert Hibari.get(tmp_path) == tmp_path
    items = read(tmp_path)
    synthesized = [item for item in items if isinstance(item, Utterance)]
    assert [(item.text, item.speaker) for item in synthesized] == [
        ("Yes.", "hibari-heart"),
        ("No.", "hibari-heart"),
    ]
    assert [item.reason for item in items if isinstance(item, Reject)] == [
        "empty transcript: no letter or digit"
    ]
    before = synthesized[0].audio.stat().st_mtime_ns
    Hibari.get(tmp_path)
    assert read(tmp_path) == items
    assert synthesized[0].audio.stat().st_mtime_ns == before


@pytest.mark.usefixtures("one_process")
def test_it_stops_after_the_sentence_that_reaches_the_minutes(tmp_path: Path) -> None:
    minutes = synthesize(SENTENCES, tmp_path, minutes=1e-4)
    assert minutes >= 1e-4
    assert [item.text for item in utterances(read(tmp_path))] == SENTENCES[:1]


def test_sentences_are_fetched_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentences_read = []
    monkeypatch.setattr(wordnet, "fetch", lambda folder: folder.mkdir(parents=True) or SENTENCES)
    monkeypatch.setattr(hibari, "DEFAULT_COUNT", 2)
    monkeypatch.setattr(hibari, "synthesize", lambda sentences, folder: sentences_read.extend(sentences))
    Hibari.get(tmp_path / "new")
    assert sentences_read == SENTENCES[:2]
    assert (tmp_path / "new" / "sentences.txt").read_text() == "Yes.\nGo on.\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is empty; write one sentence per line"), (b"fine.\n\xff\n", r"sentences\.txt:2: not UTF-8")],
)
def test_sentences_that_cannot_be_read(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "sentences.txt").write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        Hibari.get(tmp_path)


def test_nothing_is_synthesized_yet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is synthesized there; run `lina data get hibari`"):
        Hibari.read(config=HibariConfig())


def test_hibari_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(PluginError, match=r"needs hibari-tts .*pip install hibari-tts"):
        synthesize(SENTENCES, tmp_path / "out")
    assert not (tmp_path / "out").exists()
