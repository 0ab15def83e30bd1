"""SIGTERM and Ctrl-C during a run: training stops after its step, all else at once. Nothing is lost either way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lina.core.errors import LinaError


class RunStopped(LinaError):
    """A signal asked the run to stop; it goes on when started again (exit code 75)."""

    exit_code = 75


class _Terminated(BaseException):
    """SIGTERM on its way up; no ``except Exception``, such as that around hook plugins, may swallow it."""


@contextmanager
def terminated_as_stopped() -> Iterator[None]:
    """SIGTERM becomes ``RunStopped``, at once. Ctrl-C stays ``KeyboardInterrupt``. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _Terminated:
        raise RunStopped("stopped by a signal; run the same command to go on") from None
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """The first SIGTERM or SIGINT sets the event; a second one does what it did before. Only in the main thread."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, previous[signal.Signals(number)] or signal.SIG_DFL)

    for number in previous:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
