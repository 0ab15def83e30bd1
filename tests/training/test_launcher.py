"""``lina run`` with ``train.gpus``: torch's launcher, how its end becomes an exit code, and heartbeats of a store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import api

from lina.config.patience import Patience
from lina.config.train_section import TrainSection
from lina.core.errors import LinaError
from lina.runs.signals import RunStopped
from lina.training.heartbeat import LOST, OUTCOME, Heartbeat
from lina.training.launcher import launch, leave_outcome
from lina.training.process_group import join_ranks
from tests.pipeline.small_run import write_spec

TWO = TrainSection(gpus=2, accumulate=2, device="cpu", restarts=3)


class Failure(NamedTuple):
    exitcode: int
    timestamp: int


def launched(monkeypatch: pytest.MonkeyPatch, ranks: Callable[[], None]) -> dict[str, Any]:
    """Launch with a function in the place of torch's launcher and its ranks; what that was asked to start."""
    found: dict[str, Any] = {}

    def elastic_launch(config: Any, program: str) -> Callable[..., None]:
        def start(*arguments: str) -> None:
            found.update(config=config, command=[program, *arguments], environment=dict(os.environ))
            ranks()

        return start

    monkeypatch.setattr(api, "elastic_launch", elastic_launch)
    launch(TWO, ["spec.yaml", "train.lr=1"])
    return found


def test_ranks_are_those_of_lina_run(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    found = launched(monkeypatch, lambda: None)
    assert found["command"] == [sys.executable, "-m", "lina", "run", "spec.yaml", "train.lr=1"]
    assert (found["config"].nproc_per_node, found["config"].max_restarts) == (2, 3)
    assert OUTCOME in found["environment"]
    assert dict(os.environ) == before


@pytest.mark.parametrize("error", [RunStopped("stopped at step 3"), LinaError("a mistake")])
def test_an_error_that_a_rank_leaves_is_raised_with_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: LinaError
) -> None:
    def ranks() -> None:
        with pytest.raises(SystemExit) as left:
            leave_outcome(error)
        assert left.value.code == 0  # any other is a reason to start again
        if isinstance(error, RunStopped):
            raise SignalException("signal", signal.SIGTERM)

    with pytest.raises(type(error), match=str(error)) as raised:
        launched(monkeypatch, ranks)
    assert raised.value.exit_code == error.exit_code


def test_a_signal_before_anything_could_be_saved_is_resumable(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranks() -> None:
        raise SignalException("signal", signal.SIGTERM)

    with pytest.raises(RunStopped, match="run the same command to resume"):
        launched(monkeypatch, ranks)


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch whose error needs no more of its failures than their exit codes."""
    monkeypatch.setattr(
        ChildFailedError, "__init__", lambda self, name, failures: setattr(self, "failures", failures)
    )


@pytest.mark.usefixtures("deaths")
def test_the_rank_that_died_is_named_not_those_that_lost_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def ranks() -> None:
        failures = {0: Failure(LOST, 1), 1: Failure(-9, 2)}
        raise ChildFailedError("lina", failures)  # type: ignore[arg-type]

    with pytest.raises(
        LinaError, match=r"process 2 of 2 was killed by SIGKILL; fix this and run the same command"
    ):
        launched(monkeypatch, ranks)


@pytest.mark.usefixtures("deaths")
def test_the_error_that_a_rank_leaves_is_a_better_reason_than_those_that_lost_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ranks() -> None:
        with pytest.raises(SystemExit):
            leave_outcome(LinaError("a mistake"))
        raise ChildFailedError("lina", {0: Failure(LOST, 1)})  # type: ignore[dict-item]

    with pytest.raises(LinaError, match=r"^a mistake$"):
        launched(monkeypatch, ranks)


def waits(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A launcher's store, in which heartbeats of this process beat twenty times as fast."""
    served = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(served.port))
    monkeypatch.setattr("lina.training.heartbeat.PERIOD", 0.05)
    return served


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The SIGTERMs that this process gets."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("store")
def test_a_rank_ends_when_it_or_its_neighbor_is_late() -> None:
    ends: list[list[int]] = [[], []]
    patience = Patience(step=0.5, silence=1.0)
    ranks = [Heartbeat(rank, 2, patience, ends[rank].append) for rank in range(2)]
    ranks[0].enter("validation")
    time.sleep(1.5)
    assert ends == [[], []]  # both are heard, and a validation may take an hour
    ranks[0].enter("step")
    assert waits(lambda: ends[0][:1] == [LOST])
    ranks[0].enter("data")
    assert ends[1] == []
    ranks[1].stop()
    ends[0].clear()
    assert waits(lambda: ends[0][:1] == [LOST])
    assert ranks[0].report_end(2, "a mistake")
    assert not ranks[1].report_end(75, "stopped")
    assert ranks[1].reported() == 2
    ranks[0].stop()


def test_a_new_phase_has_a_new_time_before_its_own_limit() -> None:
    class Recorded(Heartbeat):
        def __init__(self) -> None:
            self.assigned: list[str] = []

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            self.assigned.append(name)

    heartbeat = Recorded()
    heartbeat.enter("step")
    assert heartbeat.assigned[-2:] == ["since", "phase"]


@pytest.mark.usefixtures("store")
def test_a_rank_that_has_finished_watches_nobody() -> None:
    ends: list[int] = []
    one, other = (Heartbeat(rank, 2, Patience(silence=0.3), ends.append) for rank in range(2))
    time.sleep(0.2)
    one.finish()
    one.thread.join(5)
    assert not one.thread.is_alive()
    other.stop()  # as if it were gone
    time.sleep(0.5)
    assert ends == []


@pytest.mark.usefixtures("store")
def test_a_rank_that_waits_for_data_hears_of_anothers_error_by_one_signal(signals: list[int]) -> None:
    one, other = (Heartbeat(rank, 2, Patience()) for rank in range(2))
    assert other.report_end(2, "a mistake")
    assert waits(lambda: bool(signals))
    time.sleep(0.3)
    assert signals == [signal.SIGTERM], "the one that has reported gets none"
    one.stop()
    other.stop()


@pytest.mark.usefixtures("store")
def test_a_rank_without_a_handler_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher would report the kill in place of the error, and start all ranks again."""
    killed: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: killed.append(number))
    monkeypatch.setattr("lina.training.heartbeat.GRACE", 0.2)
    monkeypatch.setenv(OUTCOME, "outcome.json")
    ends: list[int] = []
    one, other = (Heartbeat(rank, 2, Patience(), ends.append) for rank in range(2))
    other.report_end(2, "a mistake")
    assert waits(lambda: bool(ends))
    assert (set(ends), killed) == ({0}, [])
    one.stop()
    other.stop()


@pytest.mark.usefixtures("store")
def test_a_rank_ends_after_what_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lina.training.heartbeat.GRACE", 0.2)
    ends: list[int] = []
    one, other = (Heartbeat(rank, 2, Patience(saving=30), ends.append) for rank in range(2))
    one.enter("step")
    other.ending = True
    one.writing = other.writing = lambda: True
    other.report_end(2, "a mistake")
    time.sleep(0.6)
    assert ends == []
    one.writing = lambda: False
    assert waits(lambda: ends[:1] == [2])
    one.stop()
    other.stop()


def test_an_earlier_outcome_goes_before_another_rank_may_leave_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = tmp_path / "outcome.json"
    outcome.write_text("{}")

    class Met(Exception):
        pass

    def meet(*arguments: Any, **options: Any) -> None:
        assert not outcome.exists()
        raise Met

    monkeypatch.setattr(dist, "init_process_group", meet)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", OUTCOME: str(outcome)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Met), join_ranks(TWO):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_signal_to_one_rank_stops_lina_run_with_75(tmp_path: Path) -> None:
    write_spec(tmp_path)
    settings = (
        "train.gpus=2",
        "train.accumulate=2",
        "train.device=cpu",
        "train.steps=100000",
        "train.out=run",
    )
    command = [sys.executable, "-m", "lina", "run", "small.yaml", *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    checkpoints = tmp_path / "run" / "checkpoints"
    try:
        assert waits(lambda: any(checkpoints.glob("step-*")), 120)
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
        ).stdout.split()
        ranks = [one for one in children if "\0run\0" in Path(f"/proc/{one}/cmdline").read_text()]
        assert len(ranks) == 2
        os.kill(int(ranks[-1]), signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75
    assert errors.count("lina: stopped by a signal at step") == 1
    step = max(checkpoints.glob("step-*"))
    assert json.loads((step / "checkpoint.json").read_text())["step"] == int(step.name[5:])
