"""benchmarks/train.py without a GPU: what it trains, and its message."""

import sys

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
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 << 29)
    found = train.lina(train.SMALL, "gla", 2, 15, 2, TINY)
    assert len(found["losses"]) == 12
    assert found["peak_gib"] == 1.5
    assert found["frames_per_second"] > 0
    use = 6 * found["parameters"] * found["frames_per_second"] / train.PEAK
    assert found["model_flop_utilization"] == pytest.approx(use, abs=1e-4)


def test_every_model_has_a_name() -> None:
    assert set(train.subjects("large", 1, [])) == {"musicgen", "gla", "transformer"}
    assert len(train.subjects("small", 1, [])) == 9
    assert set(train.subjects("voice", 1, [])) == {"voice"}
