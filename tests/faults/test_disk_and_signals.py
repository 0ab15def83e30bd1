"""Full disks, limits, signals, and directories that go away: one line, nothing half-written under a final name."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lina.core.audio.wav import WavWriter
from lina.core.errors import CheckpointError, DataError, LinaError
from lina.pipeline.speech_job import run_spec
from lina.runs.hooks import hookimpl
from tests.faults.conftest import OVERRIDES, resume
from tests.pipeline.small_run import hooks_of, small, write_spec

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")
LONG = "One two three four five six seven eight nine ten. " * 19


def start(*arguments: str, limit: int | None = None) -> "subprocess.Popen[str]":
    def set_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "lina", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=set_limit,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


def leftovers(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.name.startswith("."))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("nth", range(1, 8))
def test_a_failing_write_leaves_no_part_of_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, nth: int
) -> None:
    calls = 0

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(number, os.strerror(number))
            return real(*arguments, **options)

        return call

    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    monkeypatch.setattr(WavWriter, "_write", failing(WavWriter._write))
    monkeypatch.setattr(os, "fsync", failing(os.fsync))
    monkeypatch.setattr(os, "replace", failing(os.replace))
    message = ""
    try:
        with WavWriter(path, 8000) as wav:
            wav.write(torch.zeros(100))
    except DataError as error:
        message = str(error)
    assert message == ("" if nth == 7 else f"{path}: cannot be written: {os.strerror(number)}")
    assert (path.read_bytes() == b"old") == (nth < 6)  # the sync of the folder comes after the rename
    assert leftovers(tmp_path) == []


def test_say_at_a_file_size_limit_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.wav"
    process = start("say", "--run", str(trained), LONG, "-o", str(out), limit=20_000)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 2
    assert messages.splitlines()[-1] == f"lina: error: {out}: cannot be written: File too large"
    assert "Traceback" not in messages
    assert list(tmp_path.iterdir()) == []


def test_say_after_sigterm_leaves_nothing(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text((LONG + "\n\n") * 50)
    out = tmp_path / "a.wav"
    process = start("say", "--run", str(trained), "--file", str(tmp_path / "text.txt"), "-o", str(out))
    end = time.monotonic() + 60
    while not leftovers(tmp_path):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.terminate()
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 75
    assert messages.splitlines()[-1] == "lina: stopped by a signal; run the same command again"
    assert [one.name for one in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("seconds", [0.35, 0.7, 1.2, 2.0])
def test_sigterm_in_the_first_two_seconds_is_exit_75(tmp_path: Path, seconds: float) -> None:
    process = start("run", str(write_spec(tmp_path)), "train.steps=100000", f"train.out={tmp_path / 'run'}")
    # From the moment at which Python runs lina's own code, whatever else the machine does.
    maps = Path(f"/proc/{process.pid}/status")
    while sys.platform == "linux" and not _catches_sigterm(maps):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(seconds)
    process.terminate()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 75, messages
    assert "Traceback" not in messages
    assert "run the same command" in messages.splitlines()[-1]


def _catches_sigterm(status: Path) -> bool:
    line = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


class Away:
    """Moves or deletes the run directory after a step."""

    def __init__(self, move: Callable[[Path], object]) -> None:
        self.move = move

    @hookimpl
    def step_done(self, run: Any, step: int) -> None:
        if step == 3:
            self.move(run.directory)


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed"))


@pytest.mark.parametrize("move", [rename, shutil.rmtree])
@pytest.mark.parametrize("log_every", [1, 100])
def test_a_run_directory_that_goes_away_stops_the_run_in_one_line(
    tmp_path: Path, move: Callable[[Path], object], log_every: int
) -> None:
    overrides = (*OVERRIDES, "train.checkpoint_every=4", f"train.log_every={log_every}")
    with pytest.raises(LinaError, match="No such file or directory") as stopped:
        run_spec(small(tmp_path, *overrides), hooks_of(Away(move)))
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / "run").exists(), "it is not made again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.ESTALE, errno.EIO])
def test_an_error_of_the_disk_in_training_is_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("lina.runs.checkpoint_store._sync", fail)
        with pytest.raises(CheckpointError) as refused:
            resume(run)
        assert f"cannot be written: {os.strerror(number)}; " in str(refused.value)
    resume(run)
    assert (run / "checkpoints" / "step-00000004").is_dir()
