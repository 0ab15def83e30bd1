"""Forked processes that are killed, and the figures of a series of kills."""

import os
import signal
import time
from collections.abc import Callable
from typing import NamedTuple


class Killed(NamedTuple):
    """Result of a series of kills."""

    kills: int
    starts: int
    runs: int
    """Runs that were brought to their end and compared."""
    lost_or_repeated: int
    """Samples that differ from those of the uninterrupted run, by step."""
    unreadable: int
    """Kills after which no checkpoint could be read although one had been written."""
    different: int
    """Runs whose weights differ from those of the uninterrupted run."""
    seconds: float


def forked(work: Callable[[], None]) -> int:
    """Process id of a fork that does ``work`` in silence and exits."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        work()
        code = 0
    finally:
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """Exit status within ``seconds``; None if the process had to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else status
