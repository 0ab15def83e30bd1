"""The parts of benchmarks/codecs.py: statistics, lag and length, what names a codec, codebooks for Lyra."""

import json
import math
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import codec_metrics, lyra
from benchmarks.codec_metrics import fitted, lag, mel_distance
from benchmarks.codec_results import as_text, in_order
from benchmarks.codec_statistics import interval, usage
from benchmarks.codec_subjects import Subject, parse
from benchmarks.codec_table import tables
from lina.core.errors import DataError, SpecError


def test_intervals_of_differences_are_paired() -> None:
    base = np.random.default_rng(1).normal(2.0, 1.0, 200)
    alone = interval(base)
    paired = interval((base + 0.1) - base)
    assert alone is not None
    assert paired is not None
    assert alone["low"] < alone["value"] < alone["high"]
    assert alone["high"] - alone["low"] == pytest.approx(2 * 1.96 / math.sqrt(200), rel=0.15)
    assert (paired["low"], paired["high"]) == pytest.approx((0.1, 0.1))
    assert interval(base) == alone, "the same draws every time"
    assert interval(np.array([np.nan, np.nan])) is None
    weighted = interval(np.array([1.0, np.nan, 2.0]), np.array([4.0, 100.0, 2.0]))
    assert weighted is not None
    assert weighted["value"] == 0.5


def test_entropy_and_share_of_codebooks() -> None:
    found = usage([np.array([2, 2, 0, 0]), np.array([1, 1, 1, 1])])
    assert found == {"frames": 4, "entropy_bits": [1.0, 2.0], "share_used": [0.5, 1.0]}


@pytest.mark.parametrize("late", [-320, 0, 160, 720])
def test_lag_and_length(late: int) -> None:
    sound = np.zeros(16_000, np.float32)
    sound[4000:9000] = np.random.default_rng(0).uniform(-0.5, 0.5, 5000)
    moved = np.roll(sound, late)
    assert lag(sound, -moved) == pytest.approx(late / 16, abs=0.1)
    assert mel_distance(sound, sound) == 0.0
    if late:
        assert mel_distance(sound, moved) > 1.0
    assert fitted(3 * sound, 12_000).shape == fitted(sound[:100], 12_000).shape == (12_000,)
    assert float(np.abs(fitted(3 * sound, 12_000)).max()) == 1.0


def test_weights_are_distinguished_by_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"abc")
    two.write_bytes(b"abd")
    subjects = [Subject("lina", files=(file,)) for file in (one, two)]
    assert subjects[0].weights_bytes == 3
    assert subjects[0].fingerprint != subjects[1].fingerprint
    assert Subject("codec2").weights_bytes is None


def test_rows_of_lina_come_by_falling_rate() -> None:
    rates = {
        "toy": 9.0,
        "lina codebooks=2": 500.0,
        "other": 1.0,
        "lina codebooks=8": 2000.0,
        "original": None,
    }
    rows = {name: {"bits_per_second": rate} for name, rate in rates.items()}
    assert [*in_order(rows)] == ["original", "lina codebooks=8", "lina codebooks=2", "toy", "other"]


def test_the_page_has_the_tables_of_the_file() -> None:
    root = Path(lyra.__file__).parents[1]
    results = json.loads((root / "benchmarks/codecs.json").read_text(encoding="utf-8"))
    page = (root / "docs/codecs.md").read_text(encoding="utf-8").splitlines()
    # The page leaves out the tables of differences.
    found = [line for line in tables(results | {"against": None}).splitlines() if line.startswith("|")]
    assert len(found) > 20
    assert [line for line in found if line not in page] == []


def test_codebooks_for_lyra_are_checked(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, np.zeros((3, 8, 64), np.float32))
    np.save(bad, np.zeros((3, 8, 60), np.float32))
    assert lyra._codebooks(good, 2).shape == (2, 8, 64)
    for file, stages, output in (
        (good, 4, "stages >= 4"),
        (bad, 2, "an array"),
        (Path(lyra.__file__), 1, "cannot be read"),
    ):
        with pytest.raises(DataError, match=output):
            lyra._codebooks(file, stages)


def test_values_of_codecs_are_read_as_yaml() -> None:
    assert parse("lina codebooks=4 weights=a=b.safetensors random_weights=true") == (
        "lina",
        {"codebooks": 4, "weights": "a=b.safetensors", "random_weights": True},
    )
    with pytest.raises(SpecError, match="cannot be read"):
        parse("lina codebooks={")


def test_visqol_computes_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    threads: list[str | None] = []

    class Visqol(ModuleType):
        @property
        def VisqolApi(self) -> Any:  # noqa: N802 (the package's name)
            threads.append(os.environ.get("NUMBA_NUM_THREADS"))
            return lambda: SimpleNamespace(
                create=lambda **keys: None,
                measure_from_arrays=lambda *audio: SimpleNamespace(moslqo=np.float64(audio[2] / 8000)),
            )

    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "visqol", Visqol("visqol"))
    judge = codec_metrics._visqol()
    assert threads == ["1"]
    assert judge(np.zeros(16, np.float32), np.zeros(16, np.float32)) == 2.0


def test_lists_are_one_line_and_transcripts_stay_as_they_are() -> None:
    results = {"transcripts": ["Добрый [день", "]"], "pesq": [1.234567, None]}
    text = as_text(results)
    assert text == '{\n "transcripts": ["Добрый [день", "]" ],\n "pesq": [1.2346, null ]\n}\n'
    assert json.loads(text)["transcripts"] == results["transcripts"]
