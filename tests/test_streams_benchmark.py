"""benchmarks/streams.py on a CPU with few streams, and its report on a listener."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lina
from benchmarks import streams
from benchmarks.streams import table
from benchmarks.streams_load import Load, Playback, saturated

RESULTS = Path(__file__).parents[1] / "benchmarks/streams.json"


def test_a_chunk_after_its_moment_is_late() -> None:
    one = Playback(stream=None, submitted=1.0, rate=100)  # type: ignore[arg-type]
    one.hear(50, 1.2)
    one.hear(50, 1.6)
    assert (one.first, one.seconds) == (1.2, 1.0)
    assert one.lateness == pytest.approx(1.6 - 1.2 - 0.5)
    one.hear(10, 2.4)
    assert one.lateness == pytest.approx(2.4 - 1.2 - 1.0)


def test_streams_are_begun_again_and_measured() -> None:
    voice: Any = lina.load(device="cpu")
    load = Load(voice, 2, "auto")
    found = saturated(load, 0.0, 6.0)
    assert found["streams"] == 2
    assert found["texts"] == sum(one.first is not None for one in load.over) > 0
    assert load.number == len(load.over) + len(load.playing)
    longest = max(one.seconds for one in load.over)
    assert 0.3 < longest < 20
    assert all(np.isfinite(wait) and wait > 0 for wait in found["first_audio_ms"].values())


def test_the_committed_figures_have_every_part() -> None:
    results = json.loads(RESULTS.read_text())
    assert set(results["parts"]) == set(streams.PARTS)
    (row,) = results["parts"]["saturated"]
    assert row["streams"] == 1000
    assert row["late"] == 0
    assert f"| {row['streams']} | {row['turns_per_second']} |" in table(results)
