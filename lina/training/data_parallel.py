"""``train.gpus``: this process leads others on the same machine, one a GPU, which it starts and ends.

They get what is trained as a pickle, in which the codes of a corpus are but the name of their folder. They write
nothing and tell nothing, so that they can be ended at any moment; and they end when the process that leads them does.
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
from lina.training.process_group import PATIENCE, LostError, Team

HERE = "127.0.0.1"
READY = ""
"""What a follower says when it has all that it needs; anything else is why it ended."""


LOST = 3
"""Exit code of a follower that ends because another process did."""


class Follower(NamedTuple):
    rank: int
    process: Any
    told: Connection

    def end(self) -> str | None:
        """How it has ended; None if it has not, or only because another one had."""
        code = self.process.exitcode
        if code is None or code == LOST:
            return None
        with suppress(EOFError, OSError):
            while self.told.poll():
                reason: str = self.told.recv()
                if reason != READY:
                    return reason
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def check_gpus(spec: TrainSection) -> None:
    """Whether the machine has what ``train.gpus`` asks for.

    Raises:
        LinaError: it has not.
    """
    if spec.gpus == 1:
        return
    if not dist.is_available():
        raise LinaError(f"train.gpus: {spec.gpus}, but this PyTorch has no torch.distributed; say gpus: 1")
    if choose_device(spec.device).type == "cpu":
        if spec.device == "cpu":
            return
        raise LinaError(
            f"train.gpus: {spec.gpus}, but PyTorch sees no CUDA device here; say gpus: 1, "
            "or device: cpu for so many processes on the CPU"
        )
    here = torch.cuda.device_count()
    if spec.gpus > here:
        raise LinaError(
            f"train.gpus: {spec.gpus}, but PyTorch sees {here} CUDA device{'s' if here > 1 else ''} here; "
            f"say gpus: {here}, or another number up to it that train.accumulate ({spec.accumulate}) is a multiple of"
        )


@contextmanager
def gathered(spec: TrainSection, follow: Callable[..., None], *job: Any) -> Iterator[Team]:
    """The team whose leader this process is, while the others do ``follow(*job, team)``, all of it picklable.

    Raises:
        LinaError: another process has ended, then or in the course of it.
    """
    check_gpus(spec)
    if spec.gpus == 1:
        yield Team()
        return
    _environment()
    store = _store()
    followers: list[Follower] = []

    def alert() -> None:
        if any(one.process.exitcode is not None for one in followers):
            raise LostError("it has ended")

    try:
        packed = _packed((spec, follow, job))
        followers += [_start(rank, spec.gpus, store.port, packed) for rank in range(1, spec.gpus)]
        for one in followers:
            wait([one.told, *(each.process.sentinel for each in followers)])
            alert()
        _join(spec, 0, store)
        yield Team(0, spec.gpus, alert)
    except LostError as error:
        raise LinaError(_what_happened(followers, spec.gpus, error)) from error
    finally:
        _leave(spec)
        for one in followers:
            one.process.kill()  # a polite signal is the leader's business alone
        for one in followers:
            one.process.join()
            one.told.close()


def _packed(job: Any) -> bytes:
    try:
        # Not by the pickler of multiprocessing, to which PyTorch has taught to share tensors rather than to copy them.
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise LinaError(
            f"train.gpus: the model or its data cannot be given to other processes: {error}; say gpus: 1"
        ) from error


def _start(rank: int, size: int, port: int, packed: bytes) -> Follower:
    # Spawned, not forked: a forked child has neither a working GPU nor free locks.
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(rank, size, port, packed, tell), daemon=True)
    process.start()
    tell.close()
    return Follower(rank, process, told)


def _what_happened(followers: list[Follower], size: int, error: LostError) -> str:
    wait([one.process.sentinel for one in followers], timeout=10)
    for _ in range(2):
        for one in followers:
            one.process.join(1)
            end = one.end()
            if end is not None:
                return (
                    f"train.gpus: process {one.rank + 1} of {size} {end}; mend that and run the same command "
                    "to go on from the newest checkpoint"
                )
    return f"train.gpus: the {size} processes lost each other: {error}; run the same command to go on"


def _environment() -> None:
    """What followers inherit. Sums through NVLink's switches need rights that not every machine gives."""
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    if sys.platform.startswith("linux"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def _store(port: int | None = None) -> Any:
    """Where processes find each other: at ``port``, or at a free one of which this process is the master."""
    store: Any = dist.TCPStore  # type: ignore[attr-defined]
    return store(HERE, port or 0, is_master=port is None, wait_for_workers=False, timeout=PATIENCE)


def _join(spec: TrainSection, rank: int, store: Any) -> None:
    on_gpus = choose_device(spec.device).type == "cuda"
    if on_gpus:
        torch.cuda.set_device(rank)
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=spec.gpus, timeout=PATIENCE)
    except RuntimeError as error:
        raise LostError(str(error)) from error


def _leave(spec: TrainSection) -> None:
    """Wait for nobody: the others may have ended in the middle of a sum."""
    if not dist.is_initialized():
        return
    with suppress(RuntimeError):
        if choose_device(spec.device).type == "cuda":
            dist.distributed_c10d._get_default_group()._get_backend(torch.device("cuda")).abort()
    with suppress(RuntimeError):
        dist.destroy_process_group()


def _serve(rank: int, size: int, port: int, packed: bytes, tell: Connection) -> NoReturn:
    """A follower's whole life. It ends by being killed, or on its own where something is wrong."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("lina").setLevel(logging.ERROR)  # the leader says it
    code = 1
    try:
        spec, follow, job = pickle.loads(packed)
        if spec.threads:
            torch.set_num_threads(spec.threads)
        store = _store(port)
        tell.send(READY)
        _join(spec, rank, store)
        follow(*job, Team(rank, size))
        # What it has sent may not have arrived everywhere.
        threading.Event().wait()
    except LostError:
        code = LOST
    except LinaError as error:
        tell.send(f"failed: {error}")
    except BaseException as error:
        tell.send(f"failed: {type(error).__name__}: {' '.join(str(error).split())}")
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # nothing that waits for others


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(LOST)
