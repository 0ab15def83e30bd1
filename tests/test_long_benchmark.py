"""The benchmark of long texts, on a stream whose first sentences are clear and whose last are not."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import long
from lina.speech.shaping import AudioChunk

TEXTS = ["we say these words", "and more"]


class Loudness:
    """Hears the sentence that a level stands for, and too much of it where the level is negative."""

    sample_rate = 100
    language = "en"

    def transcribe(self, audio: Tensor) -> str:
        level = audio.median()
        return TEXTS[round(float(level.abs()) * 10)] + (" again" if level < 0 else "")


def measured(out: Path, monkeypatch: pytest.MonkeyPatch, from_second: float) -> Any:
    """Two minutes at 10 frames a second, in sentences of 4 s; wrong from a second on."""

    def read(voice: Any, texts: Any, carry: bool) -> Iterator[AudioChunk]:
        assert carry
        for frame in itertools.count():
            sentence = frame // 40
            level = (sentence % 2) / 10 + 0.01
            wrong = frame / 10 >= from_second
            yield AudioChunk(torch.full((1, 10), -level if wrong else level), sentence)

    monkeypatch.setattr(long, "read", read)
    model = SimpleNamespace(logits_head=torch.nn.Linear(1, 1))
    codec = SimpleNamespace(sample_rate=100, hop=10, channels=1)
    voice: Any = SimpleNamespace(codec=codec, model=model, sample_rate=100)
    return long.measure(voice, TEXTS, 2, True, out, Loudness())


@pytest.mark.parametrize(
    ("from_second", "rates"), [(999, (0.0, 0.0)), (60, (0.0, 14 / 42)), (100, (0.0, 4 / 42))]
)
def test_minutes_are_judged_each_by_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    from_second: float,
    rates: tuple[float, float],
) -> None:
    stream = measured(tmp_path, monkeypatch, from_second)
    assert [minute.sentences for minute in stream.minutes] == [15, 14], "the last is cut by the end"
    assert [minute.word_error_rate for minute in stream.minutes] == pytest.approx(rates)
    assert stream.change["word_error_rate"] == pytest.approx(rates[1])
    assert (tmp_path / "carried.wav").stat().st_size == 44 + 2 * 12_000
    assert all(minute.memory_mib > 1 and minute.frame_milliseconds > 0 for minute in stream.minutes)


def test_a_failed_bar_is_reported() -> None:
    good = long.Minute(10, 0.01, 2.0, 100.0)
    for last, holds in (
        (long.Minute(10, 0.03, 2.2, 101.0), True),
        (long.Minute(10, 0.05, 2.0, 100.0), False),
        (long.Minute(10, 0.01, 2.6, 100.0), False),
        (long.Minute(10, 0.01, 2.0, 110.0), False),
    ):
        stream = long.Stream("fresh", [good, good, last])
        assert stream.holds is holds
        assert ("DOES NOT HOLD" in long.table([stream])) is not holds


@pytest.mark.parametrize(("frames", "count"), [((200, 300, 100, 50), 3), ((700, 10), 1)])
def test_a_round_is_a_minute(frames: tuple[int, ...], count: int) -> None:
    dataset: Any = SimpleNamespace(lengths=np.array([0, *frames]), hop=10, sample_rate=100, texts="0abcd")
    assert "".join(long.a_minute(dataset, range(1, len(frames) + 1))) == "abcd"[:count]
