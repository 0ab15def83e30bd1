import io
import re
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from lina.report.progress import ProgressBars
from lina.runs.hooks import Run
from tests.report.fake_run import fake_spec


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Utf8(io.StringIO):
    encoding = "utf-8"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, fake_spec("a"))


def bars(
    terminal: bool, clock: Clock | None = None, file: IO[str] | None = None, width: int = 100
) -> tuple[ProgressBars, Utf8]:
    written = Utf8()
    console = Console(
        file=file or written, force_terminal=terminal, width=width, height=30, _environ={"TERM": "xterm"}
    )
    return ProgressBars(console, clock or Clock()), written


def test_without_a_terminal_there_is_a_plain_line_every_ten_seconds(run: Run) -> None:
    clock = Clock()
    progress, file = bars(terminal=False, clock=clock, width=20)
    progress.stage_started(run, "train", 800, 0)
    for step in range(1, 31):
        clock.now = float(step)
        progress.stage_progress(run, "train", step, {"loss": 2.5, "frames/s": 21_000.0})
    progress.stage_finished(run, "train", 104.0)
    assert file.getvalue().splitlines() == [
        "  train       800 in all",
        "  train       10/800  loss 2.5  21k frames/s  13 min 10 s left",
        "  train       20/800  loss 2.5  21k frames/s  13 min left",
        "  train       30/800  loss 2.5  21k frames/s  12 min 50 s left",
        "✓ train       1 min 44 s  loss 2.5  21k frames/s",
    ]


def test_time_left_after_a_resumption_counts_only_what_was_done_now(run: Run) -> None:
    clock = Clock()
    progress, file = bars(terminal=False, clock=clock)
    progress.stage_started(run, "train", 100, 90)
    clock.now = 20.0
    progress.stage_progress(run, "train", 95, {})
    assert "from 90  100 in all" in file.getvalue()
    assert "95/100  20.0 s left" in file.getvalue()


def test_a_stage_of_unknown_length_promises_nothing(run: Run) -> None:
    clock = Clock()
    progress, file = bars(terminal=False, clock=clock)
    progress.stage_started(run, "data", None, 0)
    clock.now = 11.0
    progress.stage_progress(run, "data", 1234, {})
    assert file.getvalue().splitlines() == ["  data        started", "  data        1,234"]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_stage_left_as_it_was_is_reported_as_already_done(run: Run, terminal: bool) -> None:
    progress, file = bars(terminal)
    progress.stage_finished(run, "data", 0.0)
    assert file.getvalue() == "✓ data        already done\n"


def test_a_stage_may_be_called_anything(run: Run) -> None:
    progress, file = bars(terminal=False)
    progress.stage_started(run, "[red]x[/]", 1, 0)
    progress.stage_progress(run, "unknown", 1, {})
    assert file.getvalue() == "  [red]x[/]   1 in all\n"


def test_a_log_that_is_not_utf_8_gets_words(run: Run) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    progress, _ = bars(terminal=False, file=file)
    progress.stage_finished(run, "train", 2.0)
    assert file.buffer.getvalue() == b"done: train       2.0 s\n"


def draws(progress: ProgressBars) -> bool:
    return progress._bars is not None


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_on_a_terminal_there_is_a_bar_that_leaves_one_line(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    progress, file = bars(terminal=True)
    progress.stage_started(run, "train", 800, 400)
    progress.stage_progress(run, "train", 500, {"loss": 2.5, "frames/s": 100.0})
    assert progress._bars is not None
    progress._bars.refresh()
    drawn = plain(file.getvalue())
    assert "━" in drawn
    assert "500/800" in drawn
    assert "loss 2.5  100 frames/s" in drawn
    progress.stage_started(run, "evaluate", 10, 0)
    progress.stage_finished(run, "evaluate", 1.0)
    assert draws(progress)
    progress.stage_finished(run, "train", 3.0)
    assert not draws(progress)
    assert plain(file.getvalue()).endswith("✓ train       3.0 s  loss 2.5  100 frames/s\n")
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1
    assert capsys.readouterr() == ("", "")


def test_the_end_of_a_run_ends_its_bars(run: Run) -> None:
    progress, file = bars(terminal=True)
    progress.stage_started(run, "train", 800, 0)
    progress.run_finished(run)
    assert not draws(progress)
    assert "\x1b[?25h" in file.getvalue()


def test_nothing_goes_to_stdout(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    progress = ProgressBars()
    progress.stage_started(run, "train", 2, 0)
    progress.stage_finished(run, "train", 1.0)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "train" in captured.err
