"""Kills of the writer of checkpoints, at named points and at random."""

import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.faults_process import Killed, ended, forked
from lina.core.errors import CheckpointError
from lina.runs.checkpoint import save_checkpoint
from lina.runs.checkpoint_store import newest_checkpoint

POINTS = ("save_file", "_sync", "sync_directory", "rename", "rmtree", "mkdir")
"""Functions before which a checkpoint writer is killed."""


def _model() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    return model, optimizer


def _save(folder: Path, step: int, pair: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    options: dict[str, Any] = {"step": step, "seconds": 0.0, "corpus": "", "keep": 2}
    save_checkpoint(folder, model=pair[0], optimizer=pair[1], average=pair[0].state_dict(), **options)


def kill_writer(folder: Path, kills: int, draw: random.Random) -> Killed:
    """Kill a process that writes one checkpoint: every second time before a named point, else at a random moment."""
    began = time.perf_counter()
    pair = _model()
    run = folder / "checkpoints"
    started = time.perf_counter()
    _save(run, 1, pair)
    duration = time.perf_counter() - started
    step, done, starts, unreadable = 1, 0, 0, 0
    while done < kills:
        starts += 1
        if starts % 2:
            point, nth = draw.choice(POINTS), draw.randint(1, 4)
            child = forked(partial(_save_until, run, step + 1, pair, point, nth))
            _, status = os.waitpid(child, 0)
            killed = os.WIFSIGNALED(status)
        else:
            child = forked(partial(_save, run, step + 1, pair))
            killed = ended(child, draw.uniform(0.0, 1.2 * duration)) is None
        done += killed
        try:
            newest = newest_checkpoint(run)
        except CheckpointError:
            newest = None
        if newest is None or newest.step < step or (not killed and newest.step != step + 1):
            unreadable += 1
        step = newest.step if newest else 0
    return Killed(done, starts, 0, 0, unreadable, 0, round(time.perf_counter() - began, 1))


def _save_until(
    folder: Path, step: int, pair: tuple[nn.Module, torch.optim.Optimizer], point: str, nth: int
) -> None:
    """Write a checkpoint, and die before the ``nth`` call of ``point``."""
    from lina.runs import checkpoint, checkpoint_store

    owner: Any = {"save_file": checkpoint, "rename": Path, "mkdir": Path, "rmtree": shutil}.get(
        point, checkpoint_store
    )
    real, left = getattr(owner, point), nth

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(owner, point, deadly)
    _save(folder, step, pair)
