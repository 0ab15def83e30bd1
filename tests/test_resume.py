"""``lina run`` on the demo's spec, made small: killed, stopped, started twice. Other processes, as in real life."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.small_run import EVERYTHING, assert_same_training

ROOT = Path(__file__).parents[1]
STEPS = 16
SMALLER = (
    "backbone.d_model=16",
    "backbone.n_layers=1",
    "backbone.config.n_heads=2",
    "text.layers=1",
    "text.heads=2",
    "text.position_dim=8",
    "data.max_seconds=3.0",
    "data.max_rejects=1.0",
    "data.valid=0.1",
    f"train.steps={STEPS}",
    "train.batch_seconds=3",
    "train.warmup=5",
    "train.log_every=1",
    "train.checkpoint_every=2",
    "train.valid_every=5",
    "evaluate.recognizer=null",
    "evaluate.sentences=0",
    "evaluate.unseen=[]",
    "synthesize.max_seconds=0.2",
)


def start(out: Path, *overrides: str) -> "subprocess.Popen[str]":
    arguments = ["run", str(ROOT / "specs" / "first.yaml"), *SMALLER, *overrides, f"train.out={out}"]
    return subprocess.Popen(
        [sys.executable, "-m", "lina", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=out.parent,
        start_new_session=True,  # a signal to its group reaches no test
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


def run(out: Path, *overrides: str) -> tuple[int, str]:
    process = start(out, *overrides)
    _, messages = process.communicate(timeout=120)
    return process.returncode, messages


def wait_until(process: "subprocess.Popen[str]", true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert process.poll() is None, f"it ended: {process.communicate()}"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def steps_done(out: Path) -> int:
    metrics = out / "metrics.jsonl"
    return metrics.read_bytes().count(b'"train"') if metrics.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    code, messages = run(out, *EVERYTHING)
    assert code == 0, messages
    return out


def test_a_run_that_is_killed_and_stopped_ends_with_the_same_weights(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "run"
    process = start(out, *EVERYTHING)
    wait_until(process, lambda: steps_done(out) >= 3)
    process.send_signal(signal.SIGSTOP)
    code, messages = run(out, *EVERYTHING)
    assert code == 2
    [line] = messages.splitlines()
    assert line.startswith("lina: error:")
    assert "another lina process is running there" in line
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 3 <= steps_done(out) < STEPS

    process = start(out, *EVERYTHING)
    wait_until(process, lambda: steps_done(out) >= 7)
    process.terminate()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"of {STEPS}; run the same command to resume" in messages
    assert "Traceback" not in messages
    stopped = steps_done(out)
    assert max((out / "checkpoints").glob("step-*")).name == f"step-{stopped:08d}"

    code, messages = run(out, *EVERYTHING)
    assert code == 0, messages
    assert f"from {stopped}" in messages
    assert_same_training(whole, out)


def test_a_finished_run_is_left_as_it_is(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    code, messages = run(whole, *EVERYTHING)
    assert code == 0
    assert messages.count("already done") == 3
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before
