"""benchmarks/captured_training.py without a GPU: its speech, its trainings, and its message."""

import sys
from pathlib import Path

import pytest
import torch

from benchmarks import captured_training
from lina.config.loader import load_spec
from lina.config.resolve import resolve

ROOT = Path(__file__).parents[1]
SMALL = [
    "backbone={plugin: gla, d_model: 16, n_layers: 1, config: {n_heads: 2}}",
    "text={layers: 1, heads: 2, attention: plain}",
    "train.device=cpu",
    "train.steps=2",
    "train.batch_seconds=10",
]


def test_it_needs_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["captured_training", "specs/voice.yaml"])
    with pytest.raises(SystemExit) as stopped:
        captured_training.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "captured_training: there is no CUDA device\n"


def test_both_trainings_see_the_same(tmp_path: Path) -> None:
    resolved = resolve(load_spec(ROOT / "specs/voice.yaml", SMALL))
    data = captured_training.speech(40)
    found = [captured_training.train(resolved, data, tmp_path / name) for name in ("one", "other")]
    (losses, speeds), (again, _) = found
    assert losses == again
    assert len(losses) == len(speeds) == 2
    assert all(speed > 0 for speed in speeds)
