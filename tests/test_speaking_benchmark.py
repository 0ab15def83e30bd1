from typing import Any

import pytest

from benchmarks import speaking


def test_medians_and_ratios_are_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round is slower than the last; the ratio within a round stays."""
    speech = iter(range(1, 1000))
    monkeypatch.setattr(
        speaking,
        "times_real_time",
        lambda run, threads: (8.0 if threads != 7 else 2.0) / ((next(speech) - 1) // 6 + 1),
    )
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    cold = {"total": 3.0, "speech": 2.0, "import_torch": 1.0, "speaking": 0.5, "rest": 1.5}
    monkeypatch.setattr(speaking, "cold_start", lambda run: cold)
    found = speaking.measure(None, 3)
    assert found["default_to_all_threads"] == {"alone": 4.0, "beside a busy process": 4.0}
    assert found["times_real_time"]["default, alone"] == 4.0
    assert found["times_real_time"]["all threads, beside a busy process"] == 1.0
    assert found["cold_say_seconds"] == cold
    lines = speaking.table(found).splitlines()
    assert "| default, alone | 4.0 |" in lines
    assert "| rest | 1.50 |" in lines


def test_a_cold_start_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def python(*arguments: Any) -> str:
        return "0.25" if "-c" in arguments else "/tmp/out.wav: 2.30 s of speech in 0.50 s"

    monkeypatch.setattr(speaking, "_python", python)
    found = speaking.cold_start("runs/first")
    assert (found["speech"], found["import_torch"], found["speaking"]) == (2.3, 0.25, 0.5)
    assert found["rest"] == pytest.approx(found["total"] - 0.75)
    monkeypatch.setattr(speaking, "_python", lambda *_: "nothing")
    with pytest.raises(RuntimeError, match="lina say printed 'nothing'"):
        speaking.cold_start(None)


def test_a_real_child_speaks() -> None:
    assert speaking.times_real_time(None, 1) > 0
