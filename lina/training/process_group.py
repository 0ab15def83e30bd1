"""Data parallelism: ranks compute different micro-batches of a step and sum their gradients.

Ranks are started by torch's elastic launcher: ``torchrun``, or ``lina run`` with ``train.gpus``
(``lina.training.launcher``). The sums are a function of the step alone, so that all ranks have equal weights after it.
Rank 0 prepares the data, writes, validates and logs; decisions that end a training are made by all ranks together.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float64, Shaped
from torch import Tensor, nn

from lina.config.patience import Patience
from lina.core.errors import LinaError, SpecError, is_out_of_memory, one_line, out_of_memory
from lina.runs.device import Device, choose_own_device
from lina.runs.signals import raise_on_sigterm
from lina.training.heartbeat import LOST, Heartbeat, LostError, Phase, connect_store
from lina.training.launcher import discard_outcome, is_rank, leave_outcome

TIMEOUT = timedelta(days=30)
"""Longest wait for a collective operation. A rank that exits or hangs ends the others by their heartbeats."""
STARTING = timedelta(minutes=30)
"""Longest time between the starts of the first and the last rank."""
BUCKET = 32 * 2**20
"""Bytes of gradients that are reduced at once, where DistributedDataParallel does not do it."""

T = TypeVar("T")
log = logging.getLogger("lina")

_left_groups: list[Any] = []
"""Groups that this process has left.

A DistributedDataParallel that outlives its group would be the last to refer to it, and destroy it under Python's lock:
its threads are joined there, and one that still wants the lock never ends.
"""


class _TrainSection(Protocol):
    """Keys of section ``train`` of either job that ranks need."""

    @property
    def device(self) -> Device: ...
    @property
    def patience(self) -> Patience: ...


class ProcessGroup:
    """This rank and the size of its process group; a group of one exchanges nothing."""

    def __init__(self, rank: int = 0, size: int = 1, heartbeat: Heartbeat | None = None) -> None:
        self.rank, self.size, self.heartbeat = rank, size, heartbeat
        self.zeros: dict[nn.Parameter, Tensor] = {}
        """Stand-ins for gradients that only other ranks have, at fixed addresses: a captured update stores them."""

    @property
    def is_main(self) -> bool:
        """True for the rank that writes, validates and logs."""
        return self.rank == 0

    def micro_batches(self, accumulate: int) -> range:
        """The numbers of a step's micro-batches that this rank computes."""
        return range(self.rank, accumulate, self.size)

    def enter(self, phase: Phase) -> None:
        """Begin a phase, whose limit of ``train.patience`` holds from now on."""
        if self.heartbeat is not None:
            self.heartbeat.enter(phase)

    def end_after(self, writing: Callable[[], bool]) -> None:
        """Let another rank's error end this one only when ``writing()`` is false, within the limit of saving."""
        if self.heartbeat is not None:
            self.heartbeat.writing = writing

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """True on all ranks if ``flag`` is true on one."""
        return bool(self.all_reduce(torch.tensor([float(flag)], dtype=torch.float64))[0])

    def finish(self) -> None:
        """Leave the other ranks, as all do after training; rank 0 may go on alone."""
        if self.heartbeat is not None:
            self.heartbeat.finish()

    def broadcast(self, value: T | None) -> T:
        """The object of rank 0, however long that takes to make it, on all ranks; others give None.

        Raises:
            LinaError: it cannot be pickled.
        """
        objects: list[Any] = [value]
        if self.heartbeat is None:
            return objects[0]  # type: ignore[no-any-return]
        if self.is_main:
            self.heartbeat.publish()
        else:
            self.heartbeat.wait()
        try:
            with _lost_connections():
                dist.broadcast_object_list(objects, src=0, device=torch.device("cpu"))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise LinaError(
                f"train.gpus: the model or its data cannot be pickled for other processes: {error}; set gpus: 1"
            ) from error
        return objects[0]  # type: ignore[no-any-return]

    def all_rows(self, rows: Shaped[Tensor, "b *T"]) -> Shaped[Tensor, "B *T"]:
        """The rows of all ranks, of which this one has every ``size``-th, as ``own_rows`` gives them."""
        if self.size == 1:
            return rows
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        with _lost_connections():
            dist.all_gather(parts, rows)
        return torch.stack(parts, dim=1).flatten(0, 1)

    def own_rows(self, rows: Shaped[Tensor, "B *T"]) -> Shaped[Tensor, "b *T"]:
        """Every ``size``-th row, from that of this rank's number on."""
        return rows[self.rank :: self.size]

    def all_reduce(self, numbers: Float64[Tensor, "N"]) -> Float64[Tensor, "N"]:
        """Sum over all ranks.

        Raises:
            LostError: another rank has exited.
        """
        if self.size == 1:
            return numbers
        numbers = numbers.clone()
        with _lost_connections():
            dist.all_reduce(numbers)
        return numbers

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients in place, in buckets.

        A gradient that some ranks lack counts as zeros there; one that all ranks lack stays None.

        Raises:
            LostError: another rank has exited.
        """
        if self.size == 1:
            return
        trained = [one for one in parameters if one.requires_grad]
        found = torch.tensor([one.grad is not None for one in trained], dtype=torch.int32)
        with _lost_connections():
            dist.all_reduce(found)
            gradients = [
                self._gradient(one) for one, count in zip(trained, found.tolist(), strict=True) if count
            ]
            for bucket in _buckets(gradients):
                sums = torch.cat([one.reshape(-1) for one in bucket])
                dist.all_reduce(sums)
                pieces = sums.split([one.numel() for one in bucket])
                torch._foreach_copy_(
                    bucket, [piece.view_as(one) for piece, one in zip(pieces, bucket, strict=True)]
                )

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        if parameter.grad is None:
            if parameter not in self.zeros:
                self.zeros[parameter] = torch.zeros_like(parameter)
            parameter.grad = self.zeros[parameter].zero_()
        return parameter.grad


def world_size() -> int:
    """Number of ranks, as the launcher of this process says; 1 without a launcher."""
    return int(os.environ["WORLD_SIZE"]) if is_rank() else 1


def is_main_process() -> bool:
    """True for rank 0, and without a launcher."""
    return world_size() == 1 or os.environ["RANK"] == "0"


def check_share(key: str, count: int, ranks: int, parts: str) -> None:
    """Check that ranks can share the ``parts`` of a step evenly, of which ``train.KEY`` is the ``count``.

    Raises:
        SpecError: they cannot.
    """
    if count % ranks:
        raise SpecError(
            f"train.{key} ({count}) is not a multiple of the {ranks} ranks, which share the {parts} of a step; "
            f"set {key}: {-(-count // ranks) * ranks}, or start another number of ranks"
        )


@contextmanager
def join_ranks(spec: _TrainSection) -> Iterator[ProcessGroup]:
    """The process group that this process's launcher has started; a group of one without a launcher.

    An error of one rank ends all of them, and is reported once.

    Raises:
        LostError: another rank has exited or hangs.
    """
    if world_size() == 1:
        yield ProcessGroup()
        return
    rank, on_gpus = int(os.environ["RANK"]), choose_own_device(spec.device).type == "cuda"
    if rank == 0:
        discard_outcome()  # before the others are let in, which may leave one at once
    # All-reduce through NVLink switches needs rights that not every machine grants.
    os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # The launcher's store still has the addresses of ranks of an earlier attempt, under torch's own keys.
        place = {"store": connect_store(STARTING), "rank": rank, "world_size": world_size()}
        dist.init_process_group(backend, timeout=TIMEOUT, **place)
    else:
        dist.init_process_group(backend, timeout=TIMEOUT)
    heartbeat = Heartbeat(rank, world_size(), spec.patience)
    if rank != 0:
        log.setLevel(logging.ERROR)
    try:
        with raise_on_sigterm():  # another rank's error comes as a signal, as early as this
            yield ProcessGroup(rank, world_size(), heartbeat)
        heartbeat.finish()
    except Exception as error:
        ending = out_of_memory(error) if is_out_of_memory(error) else error
        if isinstance(ending, LinaError):
            if heartbeat.report_end(ending.exit_code, str(ending)):
                leave_outcome(ending)
                if ending is error:
                    raise
                raise ending from error
            raise SystemExit(heartbeat.exit_code(ending.exit_code)) from None
        if not isinstance(error, LostError | RuntimeError):
            raise
        if (reported := heartbeat.reported()) is not None:
            raise SystemExit(heartbeat.exit_code(reported)) from None
        if not _is_lost_connection(error):
            raise
        log.error("rank %d lost another rank: %s", rank, one_line(error))
        raise SystemExit(LOST) from None
    finally:
        heartbeat.stop()
        _leave(on_gpus)


def _is_lost_connection(error: Exception) -> bool:
    words = ("gloo", "NCCL", "Connection")
    return isinstance(error, LostError) or any(word in str(error) for word in words)


def _leave(on_gpus: bool) -> None:
    """Leave without waiting: other ranks may have exited during an all-reduce."""
    with suppress(RuntimeError, ValueError):
        _left_groups.append(dist.distributed_c10d._get_default_group())
    with suppress(RuntimeError, AttributeError):
        if on_gpus:
            dist.distributed_c10d._get_default_group()._get_backend(torch.device("cuda")).abort()
    with suppress(RuntimeError):
        dist.destroy_process_group()


@contextmanager
def _lost_connections() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error)) from error


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for one in gradients:
        if bucket and size + one.nbytes > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(one)
        size += one.nbytes
    if bucket:
        yield bucket
