"""Metrics whose packages are installed, and whose are not."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lina.core.audio.wav import write_wav
from lina.evaluation import metrics
from lina.evaluation.metrics import Scorer, load_optional, with_errors, with_similarity
from lina.evaluation.records import CODEC, MODEL, RECORDINGS, ClipFile, ClipRecord


def clip(folder: Path, id: str, system: str, level: float) -> ClipRecord:
    path = Path(f"{id}-{system}.wav")
    write_wav(folder / path, torch.full((1600,), level), 16_000)
    return ClipRecord(id=id, system=system, text="one", audio=path, seconds=0.1)


def test_a_missing_package_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "resemblyzer", None)
    remarks: list[str] = []
    assert load_optional("DNSMOS", metrics.dnsmos, "pip install a", remarks) is None
    assert load_optional("similarity", metrics.speaker_encoder, "pip install b", remarks) is None
    assert remarks[0].startswith("DNSMOS is left out: ")
    assert remarks[0].endswith("; pip install a")
    assert remarks[1].endswith("; pip install b")


def test_dnsmos_is_in_its_range_and_noise_is_worse_than_a_tone() -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'lina[eval]'")
    pytest.importorskip("speechmos", reason="pip install 'lina[eval]'")
    score = metrics.dnsmos()
    noise = torch.rand(40_000, generator=torch.Generator().manual_seed(0)) - 0.5
    assert 1.0 <= score(noise) <= 5.0
    assert score(noise) == score(noise)
    assert np.isnan(score(torch.zeros(0)))


def test_similarity_is_to_the_speakers_other_recordings(tmp_path: Path) -> None:
    """A voice here is the level of a constant signal; the recording of the same text is left out."""

    def encode(audio: torch.Tensor) -> np.ndarray:
        level = float(audio.mean()) * 2 * np.pi
        return np.array([np.cos(level), np.sin(level)], dtype=np.float32)

    clips = [
        clip(tmp_path, "a", MODEL, 0.25),
        clip(tmp_path, "a", CODEC, 0.0),
        clip(tmp_path, "a", RECORDINGS, 0.5),
        clip(tmp_path, "b", RECORDINGS, 0.0),
        clip(tmp_path, "c", RECORDINGS, 0.25),
    ]
    speakers = {"a": "anna", "b": "anna", "c": "carl"}
    found = [one.similarity for one in with_similarity(tmp_path, clips, speakers, encode)]
    assert found[:4] == pytest.approx([0.0, 1.0, -1.0, -1.0], abs=1e-3)
    assert found[4] is None, "no other recording of that speaker"


def test_errors_of_the_transcript_are_counted(tmp_path: Path) -> None:
    class Ears:
        sample_rate = 8000
        language = "en"

        def transcribe(self, audio: torch.Tensor) -> str:
            assert len(audio) == 800
            return "two"

    scorer = Scorer(Ears(), {"dnsmos": lambda audio: 3.25})
    scored = with_errors(scorer.score(tmp_path, clip(tmp_path, "a", MODEL, 0.1)))
    assert (scored.transcript, scored.words, scored.wrong_words, scored.dnsmos) == ("two", 1, 1, 3.25)
    silent = with_errors(
        Scorer(None, {"dnsmos": lambda audio: float("nan")}).score(tmp_path, clip(tmp_path, "a", MODEL, 0.1))
    )
    assert (silent.transcript, silent.wrong_words, silent.dnsmos) == (None, None, None)


def test_truncated_and_damaged_lines_are_dropped(tmp_path: Path) -> None:
    file = ClipFile(tmp_path / "clips.jsonl")
    first, second = (
        ClipRecord(id=id, system=MODEL, text="x", audio=Path("x"), seconds=1.0) for id in ("a", "b")
    )
    file.append(first)
    with file.path.open("a") as handle:
        handle.write('{"id": "no record"}\n{"id": "b", "sys')
    again = ClipFile(file.path)
    assert list(again.records.values()) == [first]
    again.append(second)
    assert list(ClipFile(file.path).records.values()) == [first, second]
