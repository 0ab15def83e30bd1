"""``train.gpus``: the main process spawns and supervises the other ranks of this machine, one per GPU.

They get the training job as a pickle, which names the folder of the corpus's codes instead of holding them. They write
and log nothing, so that they can be killed at any moment, and they exit with the main process.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist

from lina.config.train_section import TrainSection
from lina.core.errors import LinaError
from lina.runs.device import choose_device
from lina.training.process_group import TIMEOUT, LostError, ProcessGroup

LOOPBACK = "127.0.0.1"
READY = ""
"""Status of a worker process that is ready to train; any other status is the reason why it ended."""


LOST = 3
"""Exit code of a worker process that ends because another rank did."""


class WorkerProcess(NamedTuple):
    rank: int
    process: Any
    status_pipe: Connection

    def failure(self) -> str | None:
        """Reason of the end; None while it runs, and if it ended because another rank did."""
        code = self.process.exitcode
        if code is None or code == LOST:
            return None
        with suppress(EOFError, OSError):
            while self.status_pipe.poll():
                reason: str = self.status_pipe.recv()
                if reason != READY:
                    return reason
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def check_gpus(spec: TrainSection) -> None:
    """Check that this machine has ``train.gpus`` devices.

    Raises:
        LinaError: it has fewer.
    """
    if spec.gpus == 1:
        return
    if not dist.is_available():
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
            f"set gpus: {available}, or a smaller divisor of train.accumulate ({spec.accumulate})"
        )


@contextmanager
def spawn_workers(spec: TrainSection, entry_point: Callable[..., None], *job: Any) -> Iterator[ProcessGroup]:
    """The process group of this main process, while the other ranks run ``entry_point(*job, group)``, all picklable.

    Raises:
        LinaError: another rank has exited, at the start or later.
    """
    check_gpus(spec)
    if spec.gpus == 1:
        yield ProcessGroup()
        return
    _environment()
    store = _store()
    workers: list[WorkerProcess] = []

    def alert() -> None:
        if any(one.process.exitcode is not None for one in workers):
            raise LostError("it has exited")

    try:
        job_bytes = _pickled((spec, entry_point, job))
        workers += [_start(rank, spec.gpus, store.port, job_bytes) for rank in range(1, spec.gpus)]
        for one in workers:
            wait([one.status_pipe, *(each.process.sentinel for each in workers)])
            alert()
        _join(spec, 0, store)
        yield ProcessGroup(0, spec.gpus, alert)
    except LostError as error:
        raise LinaError(_failure_message(workers, spec.gpus, error)) from error
    finally:
        _leave(spec)
        for one in workers:
            one.process.kill()  # SIGKILL: ranks ignore SIGTERM and SIGINT, which only the main process handles
        for one in workers:
            one.process.join()
            one.status_pipe.close()


def _pickled(job: Any) -> bytes:
    try:
        # Not multiprocessing's pickler, which PyTorch extends to share tensors rather than to copy them.
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise LinaError(
            f"train.gpus: the model or its data cannot be pickled for other processes: {error}; set gpus: 1"
        ) from error


def _start(rank: int, size: int, port: int, job_bytes: bytes) -> WorkerProcess:
    # Spawned, not forked: a forked child has neither a working GPU nor free locks.
    context = multiprocessing.get_context("spawn")
    status_pipe, status = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(rank, size, port, job_bytes, status), daemon=True)
    process.start()
    status.close()
    return WorkerProcess(rank, process, status_pipe)


def _failure_message(workers: list[WorkerProcess], size: int, error: LostError) -> str:
    wait([one.process.sentinel for one in workers], timeout=10)
    for _ in range(2):
        for one in workers:
            one.process.join(1)
            failure = one.failure()
            if failure is not None:
                return (
                    f"train.gpus: process {one.rank + 1} of {size} {failure}; fix this and run the same command "
                    "to resume from the newest checkpoint"
                )
    return f"train.gpus: lost connection between the {size} ranks: {error}; run the same command to resume"


def _environment() -> None:
    """Environment of the workers. All-reduce through NVLink switches needs rights that not every machine grants."""
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    if sys.platform.startswith("linux"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _store(port: int | None = None) -> Any:
    """Rendezvous of the ranks: at ``port``, or at a free port with this process as the master."""
    store: Any = dist.TCPStore  # type: ignore[attr-defined]
    return store(LOOPBACK, port or 0, is_master=port is None, wait_for_workers=False, timeout=TIMEOUT)


def _join(spec: TrainSection, rank: int, store: Any) -> None:
    on_gpus = choose_device(spec.device).type == "cuda"
    if on_gpus:
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=spec.gpus, timeout=TIMEOUT)
    except RuntimeError as error:
        raise LostError(str(error)) from error


def _leave(spec: TrainSection) -> None:
    """Leave without waiting: other ranks may have exited during an all-reduce."""
    if not dist.is_initialized():
        return
    with suppress(RuntimeError):
        if choose_device(spec.device).type == "cuda":
            dist.distributed_c10d._get_default_group()._get_backend(torch.device("cuda")).abort()
    with suppress(RuntimeError):
        dist.destroy_process_group()


def _serve(rank: int, size: int, port: int, job_bytes: bytes, status: Connection) -> NoReturn:
    """Entry point of a worker process, which runs until it is killed or fails."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("lina").setLevel(logging.ERROR)  # the main process logs
    code = 1
    try:
        spec, entry_point, job = pickle.loads(job_bytes)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        store = _store(port)
        status.send(READY)
        _join(spec, rank, store)
        entry_point(*job, ProcessGroup(rank, size))
        # Its last all-reduce may still be in flight.
        threading.Event().wait()
    except LostError:
        code = LOST
    except LinaError as error:
        status.send(f"failed: {error}")
    except BaseException as error:
        status.send(f"failed: {type(error).__name__}: {' '.join(str(error).split())}")
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # without cleanup that waits for other ranks


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(LOST)
