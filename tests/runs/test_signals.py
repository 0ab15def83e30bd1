"""SIGTERM during a stage of a run."""

import os
import signal
from contextlib import suppress

import pytest

from lina.runs.signals import RunStopped, raise_on_sigterm, stop_requested


class Finalized:
    """Sends SIGTERM where an exception is printed and dropped, as in callbacks from C."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def stage(events: list[str], *, swallowed: bool) -> None:
    with raise_on_sigterm():
        if swallowed:
            Finalized()
        else:
            os.kill(os.getpid(), signal.SIGTERM)
        events.append("finished")


def test_sigterm_stops_at_once() -> None:
    events: list[str] = []
    with pytest.raises(RunStopped):
        stage(events, swallowed=False)
    assert events == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sigterm_whose_exception_is_swallowed_stops_at_the_end() -> None:
    events: list[str] = []
    with pytest.raises(RunStopped):
        stage(events, swallowed=True)
    assert events == ["finished"]


def test_training_stops_after_its_first_step_if_an_earlier_exception_was_swallowed() -> None:
    seen = []

    def run() -> None:
        with raise_on_sigterm():
            with stop_requested() as stop:
                seen.append(stop.is_set())
            with suppress(BaseException):
                os.kill(os.getpid(), signal.SIGTERM)
            with stop_requested() as stop:
                seen.append(stop.is_set())

    with pytest.raises(RunStopped):
        run()
    assert seen == [False, True]


def test_a_signal_that_was_swallowed_outside_stops_what_begins_inside() -> None:
    began = []

    def nested() -> None:
        with raise_on_sigterm():
            with suppress(BaseException):  # as finalizers and callbacks from C do
                os.kill(os.getpid(), signal.SIGTERM)
            with raise_on_sigterm():
                began.append(True)

    with pytest.raises(RunStopped):
        nested()
    assert not began
