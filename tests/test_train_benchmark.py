"""benchmarks/train.py without a GPU: what it trains, and its message."""

import sys
import threading
import time
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from benchmarks import train

TINY = [
    "train.device=cpu",
    "backbone.d_model=32",
    "backbone.n_layers=1",
    "text={layers: 1, heads: 2, attention: plain}",
]


def test_it_needs_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "train: there is no CUDA device\n"


def test_a_step_trains_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("synchronize", "reset_peak_memory_stats", "init"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 << 29)
    found = train.lina(nullcontext(), train.SMALL, "gla", 2, 15, 5, TINY)
    assert len(found["losses"]) == 15
    assert found["peak_gib"] == 1.5
    assert found["frames_per_second"] > 0
    use = 6 * found["parameters"] * found["frames_per_second"] / train.PEAK
    assert found["model_flop_utilization"] == pytest.approx(use, abs=1e-4)


def test_every_model_has_a_name() -> None:
    assert set(train.subjects("large", 1, [])) == {"musicgen", "gla", "transformer"}
    assert len(train.subjects("small", 1, [])) == 9
    assert set(train.subjects("voice", 1, [])) == {"voice"}


def test_models_are_timed_one_after_the_other_once_all_are_warm() -> None:
    turn: Any = train.Turn(threading, 3)  # type: ignore[arg-type]
    events: list[str] = []

    def model(seconds: float) -> None:
        time.sleep(seconds)
        events.append("warm")
        with turn:
            events.append("begin")
            time.sleep(0.02)
            events.append("end")

    threads = [threading.Thread(target=model, args=(seconds,)) for seconds in (0.0, 0.05, 0.1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events == ["warm"] * 3 + ["begin", "end"] * 3


def test_groups_of_models() -> None:
    assert list(train.batched("abcde", 2)) == ["ab", "cd", "e"]
