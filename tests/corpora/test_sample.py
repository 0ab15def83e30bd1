"""The sample corpus of specs/first.yaml, compared with the README of its folder."""

from pathlib import Path

import pytest

from lina.core.audio.read import read_audio
from lina.core.utterance import Reject, Utterance
from lina.corpora.jsonl import JSONL, JSONLConfig
from lina.data.inspect import inspect_corpus
from tests.corpora.entries import utterances

SAMPLE = Path(__file__).parents[2] / "data" / "asterisk-sample"


@pytest.fixture(scope="module")
def items() -> list[Utterance | Reject]:
    return list(JSONL.read(config=JSONLConfig(path=SAMPLE / "manifest.jsonl")))


def test_every_line_is_usable(items: list[Utterance | Reject]) -> None:
    pytest.importorskip("G722")
    statistics = inspect_corpus(items, decode=True, max_seconds=8)
    assert statistics.rejects == ()
    assert statistics.utterances == 30
    assert statistics.seconds == pytest.approx(113.6, abs=0.1)
    assert statistics.shortest >= 2
    assert statistics.speakers == {"allison": 30}


def test_sentences_are_distinct_and_have_words(items: list[Utterance | Reject]) -> None:
    texts = [item.text.lower() for item in items if isinstance(item, Utterance)]
    assert len(set(texts)) == 30
    assert min(len(text.split()) for text in texts) >= 4


def test_size_and_licence() -> None:
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 1_200_000
    assert "CREATIVE COMMONS" in (SAMPLE / "LICENSE").read_text()
    readme = (SAMPLE / "README.md").read_text()
    assert all(
        word in readme for word in ("Allison Smith", "Digium", "Attribution-ShareAlike 3.0", "1.6.1-1")
    )
    assert {path.stem for path in SAMPLE.glob("*.g722")} == {
        item.id for item in JSONL.read(config=JSONLConfig(path=SAMPLE / "manifest.jsonl"))
    }


def test_it_reads_at_the_rate_of_codec2(items: list[Utterance | Reject]) -> None:
    pytest.importorskip("G722")
    first = utterances(items)[0]
    audio = read_audio(first.audio, 8_000)
    assert audio.shape == (1, round(first.audio.stat().st_size / 8_000 * 8_000))
    assert 0.1 < audio.abs().max() <= 1.0
