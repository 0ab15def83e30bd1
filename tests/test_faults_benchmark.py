"""``make faults``, made small: kills of training and of the checkpoint writer, at random and at named points."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import faults, faults_runs

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
@pytest.mark.no_shape_checks
def test_killed_runs_and_writers_lose_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "faults.json"
    # Another process: forks of one with threads, as of xdist, may hang.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.faults", "--training", "1", "--writer", "8"),
            *("--encoding", "0", "--json", str(figures)),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"lost_or_repeated": 0' in figures.read_text()


def test_a_ledger_keeps_the_last_record_of_a_step(tmp_path: Path) -> None:
    (tmp_path / faults_runs.LEDGER).write_text('[1, ["a"]]\n[2, ["b"]]\n[2, ["c"]]\n[3, ["cu')
    assert faults_runs.read_ledger(tmp_path) == {1: ["a"], 2: ["c"]}


def test_series_are_kept_and_parts_are_added() -> None:
    before = {"training": {"date": "1", "kills": 3, "seconds": 1.5}, "encoding": {"date": "1", "kills": 2}}
    found = {"training": {"date": "2", "kills": 4, "seconds": 0.25}}
    assert faults.merge(before, found, add=False) == before | found
    assert faults.merge(before, found, add=True) == before | {
        "training": {"date": "2", "kills": 7, "seconds": 1.8}
    }
