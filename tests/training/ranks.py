"""Ranks of a test: processes of a server that has imported what they need, in the environment of a launcher."""

import faulthandler
import io
import multiprocessing
import os
import signal
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed.fsdp  # with DistributedDataParallel, a second and a half in every rank otherwise

import lina.backbones.gla
import lina.codecs.codec2
import lina.corpora.jsonl
import lina.tokenizers.bytes
import lina.training.schedules  # noqa: F401
from lina.training.process_group import join_ranks
from lina.training.trainer import train
from tests.pipeline.small_run import EVERYTHING, hooks_of, ready, small

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.training.ranks"])
PATIENCE = ("train.patience.silence=6",)


def on_ranks(size: int, function: Callable[..., Any], *arguments: Any, hung: int | None = None) -> list[Any]:
    """Run ``function(*arguments)`` on ranks; its results, or exit codes, by rank. ``hung``: a rank not to wait for.

    Of a rank that does not end in time, the result is where its threads are.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for rank in range(size):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
        process = CONTEXT.Process(target=_serve, args=(place, function, arguments, sender), daemon=True)
        process.start()
        sender.close()
        found.append((process, receiver))
    results = []
    for rank, (process, receiver) in enumerate(found):
        process.join(0 if rank == hung else 60)
        try:
            results.append(receiver.recv() if receiver.poll() else process.exitcode)
        except EOFError:  # it was killed
            results.append(process.exitcode)
        if process.exitcode is None:
            if rank != hung:
                results[-1] = f"still runs, result {results[-1]}:\n{_stacks(process)}"
            process.kill()
    return results


def _stacks(process: Any) -> str:
    """Stacks of the threads of a rank."""
    os.kill(process.pid, signal.SIGUSR1)
    process.join(2)
    return _stacks_file(process.pid).read_text()


def _stacks_file(pid: int) -> Path:
    return Path(tempfile.gettempdir()) / f"lina-rank-{pid}"


def _serve(
    place: Mapping[str, int], function: Callable[..., Any], arguments: tuple[Any, ...], sender: Connection
) -> None:
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    torch.set_num_threads(1)
    stacks = _stacks_file(os.getpid())
    with stacks.open("w") as file:
        faulthandler.register(signal.SIGUSR1, file)
        _run(function, arguments, sender)
        faulthandler.unregister(signal.SIGUSR1)
    stacks.unlink()


def _run(function: Callable[..., Any], arguments: tuple[Any, ...], sender: Connection) -> None:
    errors = io.StringIO()
    try:
        with redirect_stderr(errors):
            result = function(*arguments)
    except SystemExit as exit:
        result = exit.code
    except BaseException as error:
        result = f"{type(error).__name__}: {error}"
        if not str(error):
            traceback.print_exc()
    sender.send(result)


def trained(folder: Path, overrides: tuple[str, ...], out: str, plugins: tuple[object, ...] = ()) -> str:
    """Train the small spec on the ranks of this process; "finished", unless it raises."""
    overrides = (
        *EVERYTHING,
        "data.valid=0.3",
        "train.accumulate=4",
        "train.device=cpu",
        *PATIENCE,
        *overrides,
    )
    resolved = small(folder, *overrides, out=out)
    with join_ranks(resolved.spec.train) as group:
        hooks = hooks_of(*(plugins if group.is_main else ()))
        arguments = ready(resolved, hooks) if group.is_main else None
        run, model, data = group.broadcast(arguments)
        train(run, model, data, hooks, group)
    return "finished"
