"""hibari's dictionaries, parsed word by word, say what its own loader says."""

import json
import zlib
from typing import Any

import pytest

pytest.importorskip("hibari")

from hibari import g2p as whole

from lina.tokenizers import hibari_g2p
from lina.tokenizers.hibari_g2p import ASSETS, G2P, GZIP, KNOWN, LazyEntries, SortedEntries

TEXT = "He read the live record of A. B. Smith's café in 'Ndrangheta; they'd used zzyzx \\ 7 times, an aahing one."
ABSENT = ("", "!", "zzzzzzzz", "\u00ff", "aahin", "aahingg", "NOUN", "DEFAULT")


def parsed(name: str) -> Any:
    return json.loads(zlib.decompress((ASSETS / name).read_bytes(), GZIP))


@pytest.mark.parametrize("name", [name for name in KNOWN if "lexicon" in name])
def test_entries_are_found_by_bisection(name: str) -> None:
    text, known = hibari_g2p._read(name)
    assert known, "another hibari-tts is installed: look at its files, and enter their hashes in KNOWN"
    entries, whole = SortedEntries(text), parsed(name)
    keys = list(whole)
    nested = [key for key in keys if isinstance(whole[key], dict)]
    for key in [*keys[:50], *keys[-50:], *keys[50:-50:29], *nested]:
        assert entries.get(key) == whole[key], key
    assert [entries.get(key) for key in ABSENT] == [whole.get(key) for key in ABSENT]


def test_weights_of_the_tagger_are_those_of_the_file() -> None:
    model, whole = hibari_g2p._tagger("tagger.json.gz"), parsed("tagger.json.gz")
    assert isinstance(model["weights"], LazyEntries)
    assert {key: model[key] for key in model if key != "weights"} == {
        key: whole[key] for key in whole if key != "weights"
    }
    keys = list(whole["weights"])
    for key in [*keys[:20], *keys[-20:], *keys[20:-20:17], *(key for key in keys if "\\" in key)]:
        assert model["weights"].get(key) == whole["weights"][key]
    assert model["weights"].get("no such feature") is None


@pytest.mark.parametrize("british", [False, True])
def test_texts_have_the_same_readings(british: bool) -> None:
    assert G2P(british)(TEXT) == whole.G2P(british=british)(TEXT)


def test_files_of_another_version_are_parsed_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hibari_g2p, "KNOWN", dict.fromkeys(KNOWN, ""))
    assert isinstance(hibari_g2p._lexicon("lexicon_gb_gold.json.gz"), dict)
    assert isinstance(hibari_g2p._tagger("tagger.json.gz")["weights"], dict)
