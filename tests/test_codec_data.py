"""benchmarks/codec_data.py and what it stands on, over sources of a few made-up recordings."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks import codec_data, fillets
from benchmarks.codec_split import KeptOut, chosen
from lina.core.utterance import Utterance
from lina.corpora import debian
from tests.corpora.packages import package

KEPT = {"kathleen": 1, "festvox-ru": 1, "asterisk-it": 1, "asterisk-ru": 1, "hibari": 1}
UNKNOWN = {"asterisk-en": 1, "asterisk-es": 1, "asterisk-fr": 1, "fillets-nl": 2, "fillets-cs": 2}


@pytest.fixture(autouse=True)
def small_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(codec_data, "KEPT", KEPT)
    monkeypatch.setattr(codec_data, "UNKNOWN", UNKNOWN)


def record(path: Path, peak: float = 0.2, rate: int = 24_000, seconds: float = 1.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = np.sin(np.arange(int(rate * seconds)) / 20) * peak
    soundfile.write(path, np.stack([tone, tone], 1), rate)
    return path


SAYINGS = ["The first of three sentences.", "A second, quite different one.", "And here is yet another."]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every plugin has three sentences; the last of Kathleen's is there twice, once under another spelling."""

    class Plugin:
        Config = dict

        @staticmethod
        def read(config: Any) -> list[Utterance]:
            return [
                Utterance(id=f"d/{i}", audio=record(tmp_path / f"{i}.wav", 0.8), text=text, speaker="s")
                for i, text in enumerate(SAYINGS)
            ]

        @staticmethod
        def get(folder: Path) -> None:
            folder.mkdir(parents=True)

    monkeypatch.setattr(codec_data, "load", lambda role, name: Plugin)
    monkeypatch.setattr(
        codec_data, "sentences", lambda: [f"Sentence number {word} here." for word in "abcdefgh"]
    )
    kathleen = tmp_path / "kathleen"
    for name, text in zip("pqrs", [*SAYINGS, "and HERE is, yet, another"], strict=True):
        record(kathleen / f"{name}.wav", 0.2, 48_000)
        (kathleen / f"{name}.txt").write_text(text)
    return kathleen


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["codec_data.py", *map(str, arguments)])
    assert codec_data.main() == 0


def speak(rate: int) -> Callable[..., float]:
    def synthesize(texts: list[str], folder: Path, processes: int) -> float:
        rows = []
        for i, text in enumerate(texts):
            record(folder / f"{i}.flac", 0.8, rate)
            rows.append({"id": str(i), "audio": f"{i}.flac", "text": text, "speaker": "hibari-heart"})
        (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return 1.0

    return synthesize


def test_training_never_says_what_is_measured(
    sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(codec_data, "synthesize", speak(24_000))
    monkeypatch.setattr(
        fillets,
        "lines",
        lambda language: [
            fillets.Line(f"{fish}/{i}", record(tmp_path / f"{i}.ogg"), text, fish)
            for fish in ("big", "small")
            for i, text in enumerate(SAYINGS)
        ],
    )
    out = tmp_path / "out"
    run(monkeypatch, "train", "--kathleen", sources, "--out", out)
    run(monkeypatch, "eval", "--kathleen", sources, "--out", out / "eval")
    run(monkeypatch, "sentences", "--out", out / "sentences.txt", "--count", 5)
    known = manifest(out / "eval" / "known")
    assert {row["source"] for row in known} == set(KEPT)
    assert len(known) == len(KEPT)
    split = KeptOut([row["text"] for row in known])
    trained = [row for name in KEPT if name != "hibari" for row in manifest(out / name)]
    assert trained
    assert not any(row["text"] in split for row in trained)
    read_aloud = (out / "sentences.txt").read_text().splitlines()
    assert not any(text in split for text in read_aloud)
    assert all(
        soundfile.info(out / "kathleen" / row["audio"]).samplerate == 48_000
        for row in manifest(out / "kathleen")
    )
    unknown = manifest(out / "eval" / "unknown")
    assert {(row["source"], row["language"], row["speaker"]) for row in unknown} == {
        ("asterisk-en", "en", "s"), ("asterisk-es", "es", "s"), ("asterisk-fr", "fr", "s"),
        ("fillets-nl", "nl", "big"), ("fillets-nl", "nl", "small"),
        ("fillets-cs", "cs", "big"), ("fillets-cs", "cs", "small"),
    }  # fmt: skip
    assert all((out / "eval" / "unknown" / row["audio"]).is_file() for row in unknown)


def test_to_travel_light_it_is_opus_and_quiet_speech_is_raised(
    sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only = ("--only", "kathleen", "--opus", "kathleen")
    run(monkeypatch, "train", "--kathleen", sources, "--out", tmp_path / "out", *only)
    folder = tmp_path / "out" / "kathleen"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["kathleen"]
    for row in manifest(folder):
        speech, rate = soundfile.read(folder / row["audio"])
        assert (rate, speech.ndim) == (24_000, 1)
        assert row["audio"].endswith(".ogg")
        assert np.abs(speech).max() == pytest.approx(codec_data.LEVEL, rel=0.1)
        assert row["seconds"] == pytest.approx(1.2, abs=0.01)


def test_too_few_sentences_to_choose_from() -> None:
    with pytest.raises(ValueError, match="2 sentences of 3 to 25 words wanted, 1 found"):
        chosen(["One of three words.", "one of THREE words", "Two words."], 2)


def test_a_sentence_is_kept_with_its_near_copies() -> None:
    kept = KeptOut(["Press one to leave this menu at once."])
    assert "press ONE, to leave this menu at once" in kept
    assert "Press two to leave this menu at once." in kept
    assert "Press two to hear this list again." not in kept


def test_dialogues_of_the_fish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lua = r"""
dialogId("a-m", "font_small", "Hello \"you\".")
dialogStr("Dag \"jij\".")
dialogId("a-v", "font_big", "Yes.")

dialogStr("Ja.")
dialogId("a-x", "font_statue", "No.")
dialogStr("Nee.")
dialogId("a-gone", "font_big", "No sound.")
dialogStr("Stil.")
"""
    game = f"./{fillets.GAME}"
    files = {f"{game}/sound/one/nl/{name}.ogg": b"x" for name in ("a-m", "a-v", "a-x")}
    files[f"{game}/script/one/dialogs_nl.lua"] = lua.encode()

    def download(names: tuple[str, ...], folder: Path) -> list[Path]:
        assert names == ("fillets-ng-data", "fillets-ng-data-nl")
        folder.mkdir(parents=True)
        (folder / "one.deb").write_bytes(package(files))
        return [folder / "one.deb"]

    monkeypatch.setattr(debian, "download", download)
    for _ in range(2):
        found = [(line.id, line.text, line.speaker) for line in fillets.lines("nl")]
        assert found == [("one/a-m", 'Dag "jij".', "nl-small-fish"), ("one/a-v", "Ja.", "nl-big-fish")]
