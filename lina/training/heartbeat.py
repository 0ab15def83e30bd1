"""Heartbeats of ranks: a rank that dies or hangs ends the others, whatever operation they wait in.

A thread of each rank counts up in the launcher's store every second, watches the count of the next rank, and reads
whether a rank has reported an error. It also watches its own main thread: each phase has a limit (``train.patience``).
A process that finds a limit exceeded exits with ``LOST``, and the launcher ends or restarts them all.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

import torch.distributed as dist

from lina.config.patience import Patience

Phase = Literal["data", "compilation", "step", "validation", "saving"]
LOST = 3
"""Exit code of a rank that ends because another rank did, or because it hangs."""
PERIOD = 1.0
"""Seconds between two beats."""
GRACE = 20.0
"""Seconds between another rank's report of an error and the end of this process, which may be about to report it."""
OUTCOME = "LINA_OUTCOME"
"""Environment variable of the launcher's ranks: file for the error that ended them, which then exit with 0."""

log = logging.getLogger("lina")


class LostError(Exception):
    """Another rank of the process group has exited or does not respond."""


class Heartbeat:
    """Heartbeat thread of one rank, with a connection of its own to the store of the launcher."""

    def __init__(
        self, rank: int, size: int, patience: Patience, end: Callable[[int], object] = os._exit
    ) -> None:
        self.rank, self.size, self.patience, self.end = rank, size, patience, end
        self.phase: Phase = "data"
        self.since = time.monotonic()
        self.ending = False
        """True once this rank has an error to report itself, and needs no signal to hear of others'."""
        self.writing: Callable[[], bool] = lambda: False
        """True while a file is being written that should be complete before this rank ends."""
        self.published = 0
        self.store = connect_store()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.thread.start()

    def enter(self, phase: Phase) -> None:
        """Begin a phase; its time counts from now."""
        # In this order: the thread may look in between, and must not hold an old time against a new limit.
        self.since = time.monotonic()
        self.phase = phase

    def finish(self) -> None:
        """Let the ranks that watch this one know that it needs no others any more, and watch them no more."""
        with suppress(RuntimeError):  # rank 0, which may serve the store, has finished before
            self.store.add(f"lina/finished/{self.rank}", 1)
        self.stop()

    def publish(self) -> None:
        """Let the other ranks go on that ``wait`` for rank 0."""
        self.published += 1
        self.store.set(f"lina/published/{self.published}", "")

    def wait(self) -> None:
        """Wait for rank 0 to ``publish``, in Python, where signals are handled."""
        self.published += 1
        while not self.store.check([f"lina/published/{self.published}"]):
            time.sleep(0.05)

    def stop(self) -> None:
        self.stopped.set()

    def report_end(self, code: int, message: str) -> bool:
        """Report the error that ends this rank; true for the first one, which is to tell the user."""
        self.ending = True
        report = json.dumps({"rank": self.rank, "code": code, "message": message})
        with suppress(RuntimeError):
            first: bool = self.store.compare_set("lina/end", "", report) == report.encode()
            return first
        return self.rank == 0  # which has served the store, and has ended before the others

    def reported(self) -> int | None:
        """Exit code of an error that a rank has reported."""
        with suppress(RuntimeError):
            if self.store.check(["lina/end"]):
                return int(json.loads(self.store.get("lina/end"))["code"])
        return None

    def exit_code(self, code: int) -> int:
        """Code with which a rank exits after an error that is reported elsewhere."""
        return 0 if OUTCOME in os.environ else code

    def _run(self) -> None:
        store, neighbor = connect_store(), (self.rank + 1) % self.size
        beat, last_beat, ended, signalled = -1, time.monotonic(), 0.0, False
        while not self.stopped.wait(PERIOD):
            now = time.monotonic()
            with suppress(RuntimeError):
                store.add(f"lina/beat/{self.rank}", 1)
                count = store.add(f"lina/beat/{neighbor}", 0)
                if count != beat or store.add(f"lina/finished/{neighbor}", 0):
                    beat, last_beat = count, now
                if store.check(["lina/end"]):
                    ended = ended or now
                    if not signalled and self._hears_signals():
                        signalled = True
                        os.kill(os.getpid(), signal.SIGTERM)
                    if now - ended > (self.patience.saving if self.writing() else GRACE):
                        self._exit("", self.exit_code(json.loads(store.get("lina/end"))["code"]))
            if now - last_beat > self.patience.silence:
                self._exit(
                    f"has no heartbeat of rank {neighbor} for {now - last_beat:.0f} s (train.patience.silence)"
                )
            phase = self.phase
            limit = getattr(self.patience, phase, None)
            if limit is not None and now - self.since > limit and not ended:
                self._exit(f"has been in phase {phase} for more than {limit:g} s (train.patience.{phase})")

    def _hears_signals(self) -> bool:
        """True if SIGTERM ends this rank in order, and nothing else will for hours: other phases lose a connection.

        Without a handler it would kill, which the launcher takes for a reason to start again.
        """
        return self.phase == "data" and not self.ending and callable(signal.getsignal(signal.SIGTERM))

    def _exit(self, reason: str, code: int = LOST) -> None:
        if reason:
            log.error("rank %d %s; all ranks end; run the same command to resume", self.rank, reason)
            sys.stderr.flush()
        self.end(code)


def connect_store(timeout: timedelta = timedelta(seconds=20)) -> Any:
    """A client of the store that the launcher or rank 0 serves; each attempt of the launcher has its own keys."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store: Any = dist.TCPStore  # type: ignore[attr-defined]
    client = store(host, port, is_master=False, wait_for_workers=False, timeout=timeout)
    prefixed: Any = dist.PrefixStore  # type: ignore[attr-defined]
    return prefixed(f"attempt/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", client)
