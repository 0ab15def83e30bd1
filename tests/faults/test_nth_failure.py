"""The n-th operation of the disk, or step, fails: one line, and the same command ends with equal weights."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from lina.core.errors import LinaError, is_out_of_memory
from lina.pipeline.speech_job import run_spec
from lina.training.backward import BackwardPass
from tests.cli.conftest import Lina
from tests.faults.conftest import OVERRIDES, resume
from tests.pipeline.small_run import assert_same_training, hooks_of, small, stored


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a fault."""
    return run_spec(small(tmp_path_factory.mktemp("whole"), *OVERRIDES), hooks_of())


class Failing:
    """Fails the ``nth`` of all calls of some functions."""

    def __init__(self, nth: int, error: Callable[[], BaseException]) -> None:
        self.left, self.error = nth, error

    def __call__(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise self.error()
            return real(*arguments, **options)

        return call


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14, 22, 35])
def test_a_full_disk_at_the_nth_operation_of_a_run(tmp_path: Path, whole: Path, nth: int) -> None:
    resolved, failing, message = small(tmp_path, *OVERRIDES), Failing(nth, full_disk), ""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "rename", "mkdir"):
            patch.setattr(os, name, failing(getattr(os, name)))
        try:
            run_spec(resolved, hooks_of())
        except LinaError as error:
            message = str(error)
    assert failing.left <= 0, "so many operations are done"
    assert "\n" not in message
    assert "No space left on device" in message
    run_spec(resolved, hooks_of())
    assert stored(tmp_path / "run").keys() == stored(whole).keys()
    assert all(value.equal(stored(whole)[name]) for name, value in stored(tmp_path / "run").items())
    assert not list((tmp_path / "run").rglob(".*.part"))


@pytest.mark.parametrize(
    "error", [MemoryError, lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to")]
)
@pytest.mark.parametrize("nth", [1, 3, 4])
def test_memory_runs_out_in_the_nth_step(
    tmp_path: Path, whole: Path, nth: int, error: Callable[[], BaseException]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackwardPass, "__call__", Failing(nth, error)(BackwardPass.__call__))
        with pytest.raises(
            LinaError,
            match=rf"train: out of memory in step {nth}, whose batch is \d+ rows of up to \d+ frames .*the last "
            r"checkpoint is of step .* a smaller train\.batch_seconds \(\d",
        ) as one:
            run_spec(small(tmp_path, *OVERRIDES), hooks_of())
    assert "\n" not in str(one.value)
    run_spec(small(tmp_path, *OVERRIDES), hooks_of())
    assert_same_training(whole, tmp_path / "run")


class FailingAllocation(TorchFunctionMode):
    """The ``nth`` operation on tensors finds no memory, as PyTorch's allocator on the CPU says it."""

    def __init__(self, nth: int) -> None:
        super().__init__()
        self.left = nth

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 8 bytes. Error code 12 (Cannot allocate memory)"
            )
        return function(*arguments, **(options or {}))


@pytest.mark.no_shape_checks
@pytest.mark.parametrize("nth", [1, 900, 6_000, 18_000])
def test_the_nth_allocation_of_a_run_fails(tmp_path: Path, whole: Path, nth: int) -> None:
    """Before training, in it, and in what follows: nothing is lost, and the same run ends with equal weights."""
    resolved, failing = small(tmp_path, *OVERRIDES), FailingAllocation(nth)
    with failing, pytest.raises(Exception, match=r"can't allocate memory|out of memory in step") as one:
        run_spec(resolved, hooks_of())
    assert failing.left <= 0
    assert isinstance(one.value, LinaError) or is_out_of_memory(one.value)
    run_spec(resolved, hooks_of())
    assert_same_training(whole, tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".*.part"))


@pytest.mark.parametrize("nth", [1, 60, 300])
def test_the_nth_allocation_of_speech_fails_in_one_line(
    run: Path, lina: Lina, tmp_path: Path, nth: int
) -> None:
    with FailingAllocation(nth) as failing:
        done = lina("say", "--run", str(run), "One word.", "-o", str(tmp_path / "a.wav"))
    assert failing.left <= 0
    assert done.code == 2, done
    errors = [line for line in done.err.splitlines() if line.startswith("lina: error: ")]
    assert len(errors) == 1
    assert "memory" in errors[0]
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("*.wav"))
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_changes_nothing(
    run: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_400 * days)
    os.utime(run / "checkpoints" / "step-00000002", (0, 0))
    os.utime(run / "metrics.jsonl", (now() + 86_400, now() + 86_400))
    resume(run)
    assert_same_training(whole, run)
