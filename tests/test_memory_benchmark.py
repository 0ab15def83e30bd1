"""benchmarks/memory.py runs lina's own training; that its figures are of a GPU only a GPU can show."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import memory

SMALL = ["backbone.d_model=16", "backbone.n_layers=1", "text.layers=1", "text.heads=2", "text.position_dim=8"]


def test_it_needs_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert memory.main([]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.count("\n") == 1
    assert "needs a CUDA device" in written.err


def test_it_trains_and_keeps_earlier_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "memory.json"
    file.write_text('{"results": {"mamba-60m": {"plain": {"fits_10_gb": true}}}}')
    requests = [
        "--device",
        "cpu",
        "--only",
        "gla-60m",
        "--rows",
        "2",
        "--frames",
        "5",
        "--json",
        str(file),
        *SMALL,
    ]
    assert memory.main(requests) == 0
    results = json.loads(file.read_text())
    assert results["rows"] == 2
    assert results["results"]["mamba-60m"]["plain"]["fits_10_gb"] is True
    assert set(results["results"]["gla-60m"]) == {"plain", "checkpointing"}
    for found in results["results"]["gla-60m"].values():
        assert found["frames_per_second"] > 0
        assert found["fits_10_gb"] is None
        assert "error" not in found
    assert capsys.readouterr().out.count("gla-60m ") == 2


def test_a_model_that_fails_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*arguments: object) -> None:
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(memory, "train", train)
    assert memory.main(["--device", "cpu", "--only", "gla-60m", "--rows", "1", "--frames", "2", *SMALL]) == 0
    assert capsys.readouterr().out.count("RuntimeError: no such kernel\n") == 2
