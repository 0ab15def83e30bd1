"""Progress of the stages of a run on stderr: bars on a terminal, plain lines at intervals elsewhere."""

import atexit
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lina.report.numbers import duration, short
from lina.runs.hooks import Run, hookimpl

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

PLAIN_SECONDS = 10.0
"""Interval between two plain lines of a stage."""


@dataclass
class _Stage:
    total: int | None
    started_at: float
    started_with: int
    logged_at: float
    done: int
    info: Mapping[str, float] = field(default_factory=dict)
    task: Any = None

    def seconds_left(self, now: float) -> float | None:
        finished = self.done - self.started_with
        if self.total is None or finished <= 0:
            return None
        return (now - self.started_at) / finished * max(0, self.total - self.done)


class ProgressBars:
    """Bars are removed when their stage is finished; one line with a check mark stays. stdout is not used."""

    def __init__(self, console: "Console | None" = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._stages: dict[str, _Stage] = {}
        self._bars: Progress | None = None

    @hookimpl
    def stage_started(self, run: Run, stage: str, total: int | None, done: int) -> None:
        self._remove(stage)
        now = self._clock()
        current = _Stage(total, started_at=now, started_with=done, logged_at=now, done=done)
        self._stages[stage] = current
        if self._is_live():
            current.task = self._live().add_task(stage, total=total, completed=done, info="")
        else:
            resumed = f"from {done:,}" if done else ""
            self._log(stage, resumed, f"{total:,} in all" if total else "" if resumed else "started")

    @hookimpl
    def stage_progress(self, run: Run, stage: str, done: int, info: Mapping[str, float]) -> None:
        current = self._stages.get(stage)
        if current is None:
            return
        current.done, current.info = done, info
        if current.task is not None:
            self._live().update(current.task, completed=done, info=_glance(info))
            return
        now = self._clock()
        if now - current.logged_at >= PLAIN_SECONDS:
            current.logged_at = now
            left = current.seconds_left(now)
            of_total = f"{done:,}/{current.total:,}" if current.total else f"{done:,}"
            self._log(stage, of_total, _glance(info), f"{duration(left)} left" if left is not None else "")

    @hookimpl
    def stage_finished(self, run: Run, stage: str, seconds: float) -> None:
        current = self._stages.get(stage)
        glance = _glance(current.info) if current and seconds else ""
        self._remove(stage)
        tick = "✓" if self._stderr().encoding.startswith("utf") else "done:"
        self._print(_joined(f"{tick} {stage:<10}", duration(seconds) if seconds else "already done", glance))

    @hookimpl
    def run_finished(self, run: Run) -> None:
        for stage in list(self._stages):
            self._remove(stage)

    def _stderr(self) -> "Console":
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False)
        return self._console

    def _is_live(self) -> bool:
        return self._stderr().is_terminal and not self._stderr().is_dumb_terminal

    def _live(self) -> "Progress":
        if self._bars is None:
            self._bars = _bars(self._stderr())
            self._bars.start()
            # A failed run sends no event, and the terminal's cursor must be restored.
            atexit.register(self._stop)
        return self._bars

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            atexit.unregister(self._stop)

    def _remove(self, stage: str) -> None:
        removed = self._stages.pop(stage, None)
        if removed is not None and removed.task is not None and self._bars is not None:
            self._bars.remove_task(removed.task)
        if all(other.task is None for other in self._stages.values()):
            self._stop()

    def _log(self, stage: str, *parts: str) -> None:
        self._print(_joined(f"  {stage:<10}", *parts))

    def _print(self, line: str) -> None:
        # soft_wrap: a log line must not be broken at 80 columns; no markup: stages and names are only text.
        self._stderr().print(line, markup=False, highlight=False, soft_wrap=True)


def _bars(console: "Console") -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("  {task.description:<10}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}", markup=False, style="dim"),
        console=console,
        transient=True,
        refresh_per_second=4,
        redirect_stdout=sys.stdout.isatty(),
    )


def _glance(info: Mapping[str, float]) -> str:
    return _joined(
        *(f"{short(v)} {name}" if "/" in name else f"{name} {short(v)}" for name, v in info.items())
    )


def _joined(*parts: str) -> str:
    return "  ".join(part for part in parts if part)
