"""``train.gpus``: start the ranks of this machine by torch's elastic launcher, as ``torchrun -m lina run`` does."""

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from lina.core.errors import LinaError
from lina.runs.device import Device, choose_device
from lina.runs.signals import RunStopped
from lina.training.heartbeat import LOST, OUTCOME


class _TrainSection(Protocol):
    """Keys of section ``train`` of either job that the launcher needs."""

    @property
    def gpus(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def device(self) -> Device: ...


def check_gpus(spec: _TrainSection) -> None:
    """Check that this machine has ``train.gpus`` devices.

    Raises:
        LinaError: it has fewer.
    """
    if spec.gpus == 1:
        return
    if not torch.distributed.is_available():
        raise LinaError(
            f"train.gpus is {spec.gpus}, but this build of PyTorch has no torch.distributed; set gpus: 1"
        )
    if choose_device(spec.device).type == "cpu":
        if spec.device == "cpu":
            return
        raise LinaError(
            f"train.gpus is {spec.gpus}, but no CUDA device is available; set gpus: 1, "
            f"or device: cpu to run {spec.gpus} CPU processes"
        )
    available = torch.cuda.device_count()
    if spec.gpus > available:
        raise LinaError(
            f"train.gpus is {spec.gpus}, but {available} CUDA device{'s are' if available > 1 else ' is'} available; "
            f"set gpus: {available} or less"
        )


def is_rank() -> bool:
    """True in a process that a launcher has started, such as ``launch`` or ``torchrun``."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_launched() -> bool:
    """True in a process that ``launch`` has started, which tells the user how the run ended."""
    return OUTCOME in os.environ


def launch(spec: _TrainSection, arguments: Sequence[str]) -> None:
    """Run ``lina run ARGUMENTS`` on ``train.gpus`` ranks and wait for them.

    A rank that dies ends the others, and all start again up to ``train.restarts`` times. Errors of the user and saved
    stops are no reason to start again.

    Raises:
        RunStopped: a signal or a time limit stopped the ranks, which have saved.
        LinaError: the error that a rank reported, or the rank that died.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    check_gpus(spec)
    config = LaunchConfig(
        run_id=uuid.uuid4().hex,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=spec.gpus,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=spec.restarts,
        monitor_interval=0.1,
    )
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="lina-") as folder:
        outcome = Path(folder) / "outcome.json"
        before = dict(os.environ)
        os.environ.update(_environment(spec.gpus) | before | {OUTCOME: str(outcome)})
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            elastic_launch(config, sys.executable)("-m", "lina", "run", *arguments)
        except SignalException:
            if not outcome.exists():
                raise RunStopped("stopped by a signal; run the same command to resume") from None
        except ChildFailedError as error:
            if not outcome.exists():  # else a rank's own error came before, and is the better reason
                raise LinaError(_failure_message(error, spec.gpus)) from None
        finally:
            os.environ.clear()
            os.environ.update(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if outcome.exists():
            found = json.loads(outcome.read_text())
            raise (RunStopped if found["code"] == RunStopped.exit_code else LinaError)(found["message"])


def leave_outcome(error: LinaError) -> None:
    """Leave the error that ends all ranks to the launcher, if that is ``launch``, and exit with 0.

    torch's launcher would take any other code as a reason to start again.
    """
    if OUTCOME not in os.environ:
        return
    path = Path(os.environ[OUTCOME])
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"code": error.exit_code, "message": str(error)}))
    temporary.rename(path)
    raise SystemExit(0) from None


def discard_outcome() -> None:
    """Forget how an earlier attempt ended."""
    if OUTCOME in os.environ:
        Path(os.environ[OUTCOME]).unlink(missing_ok=True)


def _environment(ranks: int) -> dict[str, str]:
    """Defaults of the environment of ranks of one machine: the loopback, and threads that share its cores."""
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // ranks))}
    quiet = {
        "TORCH_CPP_LOG_LEVEL": "ERROR"
    }  # all parameters may be used, which is worth a warning to PyTorch
    return threads | quiet | ({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform.startswith("linux") else {})


def _failure_message(error: Any, size: int) -> str:
    """The first rank that died of itself, and how."""
    failures = sorted(error.failures.items(), key=lambda one: (_is_lost(one[1].exitcode), one[1].timestamp))
    rank, failure = failures[0]
    code = failure.exitcode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if code == LOST:
        how = "lost another rank or hung"
    return (
        f"train.gpus: process {rank + 1} of {size} {how}; fix this and run the same command to resume from the newest "
        "checkpoint"
    )


def _is_lost(code: int) -> int:
    return {LOST: 2, 1: 1}.get(code, 0)
