"""benchmarks/backbones.py at its smallest: the path is the same, the numbers mean nothing."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import backbone_run, backbones
from tests.pipeline.small_run import write_spec


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    spec = folder / "small.yaml"
    if not spec.exists():
        write_spec(folder)
    monkeypatch.setattr(sys, "argv", ["backbones.py", f"--spec={spec}", "--steps=2", *arguments])
    return backbones.main()


def test_a_backbone_is_measured_and_added_to_the_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table.json"
    small = ("--decode-seconds=0.01", f"--json={file}")
    assert run(monkeypatch, tmp_path, "--only", "retnet", *small) == 0
    row = json.loads(file.read_text())["backbones"]["retnet"]
    assert row["validation_loss"] > 0
    assert row["parameters"] > row["backbone_parameters"] > 0
    assert row["state_bytes"] > 0
    assert row["peak_memory_bytes"] > 2**20
    assert row["training_frames_per_second"] > 0
    assert all(row["decode_frames_per_second"][rows] > 0 for rows in ("1", "16"))
    assert "| retnet | 2 × 1 | " in capsys.readouterr().out

    late = run(monkeypatch, tmp_path, "--only", "transformer", "--timeout=0.01", *small)
    rows = json.loads(file.read_text())["backbones"]
    assert late == 1
    assert rows == {"retnet": row, "transformer": {"error": "not done after 0.01 s"}}
    assert "| transformer | not done after 0.01 s |" in capsys.readouterr().out

    assert run(monkeypatch, tmp_path, "--only", "retnet", *small, "--", "seed=7") == 2
    assert "was made with overrides [], not ['seed=7']" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "retnett"], "no backbone named 'retnett' is installed; did you mean 'retnet'?"),
        (["--", "train.stepps=3"], "did you mean 'steps'?"),
        (["--json", "small.yaml"], "small.yaml: is no result of this benchmark"),
    ],
)
def test_mistakes_are_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    write_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, tmp_path, *arguments) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1


def test_a_crash_is_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert run(monkeypatch, tmp_path, "--only", "retnet") == 1
    assert "exit code 1: nothing was said" in capsys.readouterr().out


def test_layers_come_nearest_to_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def size(resolved: Any, n_layers: int) -> int:
        return 100 * n_layers

    monkeypatch.setattr(backbone_run, "backbone_parameters", size)
    resolved: Any = None
    assert [backbone_run.layers_nearest(resolved, expected) for expected in (10, 149, 151, 300, 349)] == [
        1,
        1,
        2,
        3,
        3,
    ]
