"""Handle SIGTERM and Ctrl-C during a run: training stops after its step, other stages at once, without losing work."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lina.core.errors import LinaError


class RunStopped(LinaError):
    """The run was stopped by a signal or a time limit and resumes when started again (exit code 75)."""

    exit_code = 75


class _Terminated(BaseException):
    """SIGTERM as an exception that no ``except Exception``, such as that around hook plugins, swallows."""


class _Terminate:
    """Handler that raises ``_Terminated``. Callbacks from C and finalizers swallow every exception, so it remembers."""

    def __init__(self) -> None:
        self.called = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.called = True
        raise _Terminated


@contextmanager
def raise_on_sigterm(remedy: str = "run the same command to resume") -> Iterator[None]:
    """Raise ``RunStopped`` on SIGTERM. Ctrl-C stays ``KeyboardInterrupt``. No effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    previous = signal.getsignal(signal.SIGTERM)
    # One within another remembers for both: what was swallowed before this one began would be lost.
    terminate = previous if isinstance(previous, _Terminate) else _Terminate()
    signal.signal(signal.SIGTERM, terminate)
    try:
        if terminate.called:
            raise _Terminated
        yield
        if terminate.called:
            raise _Terminated
    except BaseException:
        # Extensions in C that call Python turn the exception into one of their own.
        if not terminate.called:
            raise
        raise RunStopped(f"stopped by a signal; {remedy}") from None
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


@contextmanager
def stop_requested(ranks: int = 1) -> Iterator[threading.Event]:
    """An event that the first SIGTERM or SIGINT sets; a second one is handled as before. Only in the main thread.

    On several ``ranks`` a second one does nothing: a launcher repeats those that its user sends to all processes, and
    kills what has not saved after a while.

    It is set from the beginning if ``raise_on_sigterm`` around it had a SIGTERM whose exception was swallowed.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = previous[signal.SIGTERM]
    if isinstance(before, _Terminate) and before.called:
        stop.set()

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()
        if ranks == 1:
            signal.signal(number, previous[signal.Signals(number)] or signal.SIG_DFL)

    for number in previous:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
