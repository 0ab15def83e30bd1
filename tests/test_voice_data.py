"""Training data of lina's voice: its sentences, and the manifest of its recordings."""

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

from benchmarks import voice_manifest, voice_texts
from lina.core.corpus.manifest import read_json_manifest
from lina.core.utterance import Utterance
from lina.tokenizers.english import normalize

WORDS = {
    "thing": ["bridge", "kettle", "broom"],
    "food": ["bread", "butter"],
    "animal": ["badger", "otter"],
    "person": ["baker", "sailor"],
    "place": ["Bergen", "Oslo"],
    "adjective": ["bold", "odd"],
    "verb": ["bake", "order"],
}


def some(source: Any, count: int = 60) -> list[str]:
    return list(itertools.islice(source, count))


@pytest.mark.parametrize("kind", ["questions", "everyday", "figures"])
def test_every_blank_is_filled_and_every_figure_written_out(kind: str) -> None:
    texts = some(voice_texts.filled(voice_texts.WORDS[kind], WORDS, random.Random(1)))
    assert texts == some(voice_texts.filled(voice_texts.WORDS[kind], WORDS, random.Random(1)))
    assert len(set(texts)) > 20
    assert not any(re.search(r"[{}]", text) for text in texts)
    assert any(map(str.isdigit, "".join(texts))) == (kind == "figures")
    assert not any(map(str.isdigit, "".join(normalize(text, voice_texts.STYLE) for text in texts)))


@pytest.mark.parametrize("kind", ["single", "repeated", "alike", "listed"])
def test_sentences_of_words_are_sentences(kind: str) -> None:
    texts = some(getattr(voice_texts, kind)(WORDS, random.Random(1)))
    assert len(set(texts)) > 10
    assert all(text[0].isupper() and text[-1] in ".!?" for text in texts)


def test_joined_sentences_stay_short() -> None:
    long = " ".join(["word"] * 25) + "."
    texts = some(voice_texts.joined([long, "One two.", "Three.", "Four five six."], random.Random(1)))
    assert all(1 < text.count(".") <= 3 and len(text.split()) <= 40 for text in texts)


def test_meanings_are_sentences_of_plain_words(tmp_path: Path) -> None:
    lines = (
        '00000001 05 n 01 owl 0 001 @ 00000000 n 0000 | a bird that hunts at night; "an owl hooted"',
        "00000002 06 n 01 kettle 0 001 @ 00000000 n 0000 | a pot with a spout",
        "00000003 06 n 01 tin_can 0 001 @ 00000000 n 0000 | a box of tinned food",
        "00000004 18 n 01 bishop 0 001 @ 00000000 n 0000 | (Church) a clergyman of rank",
        "00000005 06 n 01 radar 0 001 @ 00000000 n 0000 | a device of the USAF",
        "00000006 06 n 01 hat 0 001 @ 00000000 n 0000 | headdress that is worn",
    )
    (tmp_path / "data.noun").write_text("\n".join(lines) + "\n")
    found = list(voice_texts.defined(tmp_path))
    assert sorted(found) == ["A kettle is a pot with a spout.", "An owl is a bird that hunts at night."]


def folder(base: Path, name: str, count: int) -> Path:
    (base / name).mkdir()
    lines = []
    for number in range(count):
        soundfile.write(base / name / f"{number}.wav", [0.0] * 100, 24_000)
        lines.append(
            json.dumps({"id": str(number), "audio": f"{number}.wav", "text": "Hi.", "speaker": name})
        )
    (base / name / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return base / name


def test_a_joined_manifest_has_all_and_repeats_what_counts_more(tmp_path: Path) -> None:
    folders = [str(folder(tmp_path, name, count)) for name, count in (("anna", 2), ("ben", 1))]
    out = tmp_path / "manifest.jsonl"
    assert voice_manifest.main([*folders, "--times", "ben=3", "--out", str(out)]) == 0
    found = [one for one in read_json_manifest(out) if isinstance(one, Utterance)]
    assert [one.id for one in found] == ["anna-0", "anna-1", "ben-0", "ben-0-1", "ben-0-2"]
    assert [one.speaker for one in found] == ["anna"] * 2 + ["ben"] * 3
    assert all(one.audio.is_file() for one in found)


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["--times", "anna"], "'anna' is not NAME=N"),
        (["--times", "anna=0"], "'anna=0' is not NAME=N"),
        (["--times", "ana=2"], "did you mean 'anna'"),
    ],
)
def test_mistyped_options(
    tmp_path: Path, arguments: list[str], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        voice_manifest.main(
            [str(folder(tmp_path, "anna", 1)), *arguments, "--out", str(tmp_path / "m.jsonl")]
        )
    assert ended.value.code == 2
    assert output in capsys.readouterr().err


def test_a_folder_without_a_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        voice_manifest.main([str(tmp_path / "none"), "--out", str(tmp_path / "m.jsonl")])
    assert ended.value.code == 2
    assert "none" in capsys.readouterr().err
