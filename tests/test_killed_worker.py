"""``lina run`` while it encodes the demo's corpus in two processes, whose worker or parent is killed or stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_resume import ROOT, run, start, wait_until

pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc"),
    pytest.mark.timeout(300),
]
TIMES = 14
"""Copies of the corpus, so that encoding takes a while."""


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[str, ...]:
    """Overrides for the corpus, each recording many times, and two processes."""
    shutil.copytree(ROOT / "data" / "asterisk-sample", tmp_path / "corpus")
    manifest = tmp_path / "corpus" / "manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [line | {"id": f"{line['id']}-{number}"} for number in range(TIMES) for line in lines]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ("data.workers=2", "data.max_seconds=20", "data.max_rejects=0", "train.steps=1")
    return f"data.config.path={manifest}", *settings


def shards(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "data").glob("shard-*.json")}


def workers(parent: int) -> list[int]:
    """Process ids of the pool of a process."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ended(processes: list[int], within: float) -> bool:
    end = time.monotonic() + within
    while any(map(is_alive, processes)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def begin(out: Path, *overrides: str) -> "tuple[subprocess.Popen[str], list[int]]":
    """A run that has written its first shard and is encoding the next one."""
    process = start(out, *overrides)
    wait_until(process, lambda: bool(shards(out)))
    pool = workers(process.pid)
    assert len(pool) == 2
    return process, pool


def test_a_killed_worker_ends_the_run_in_one_line_and_the_same_command_goes_on(
    tmp_path: Path, corpus: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    process, pool = begin(out, *corpus)
    os.kill(pool[0], signal.SIGKILL)
    _, log = process.communicate(timeout=10)
    assert process.returncode == 2
    [line] = [line for line in log.splitlines() if "error" in line or "Traceback" in line]
    # It may be between two recordings.
    at_work = f"while it worked on .*{re.escape(str(tmp_path / 'corpus'))}"
    message = "lina: error: a worker process was killed or crashed "
    assert re.match(f"{message}({at_work}|before it began to work)", line)
    assert line.endswith("run the same command to resume")
    assert ended(pool, within=5)
    finished = shards(out)

    code, log = run(out, *corpus)
    assert code == 0, log
    written = json.loads((out / "data" / "manifest.json").read_text())
    lines = (tmp_path / "corpus" / "manifest.jsonl").read_text().splitlines()
    assert written["utterances"] == len(lines)
    assert finished.items() <= shards(out).items()  # they were not written again


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda process: os.kill(process, signal.SIGKILL), -signal.SIGKILL),
        (lambda process: os.kill(process, signal.SIGTERM), 75),
        (lambda process: os.killpg(process, signal.SIGINT), 130),
    ],
    ids=["kill", "terminate", "ctrl-c"],
)
def test_workers_end_with_their_run(
    tmp_path: Path, corpus: tuple[str, ...], stop: Callable[[int], None], code: int
) -> None:
    process, pool = begin(tmp_path / "run", *corpus)
    stop(process.pid)
    _, log = process.communicate(timeout=10)
    assert process.returncode == code
    assert "Traceback" not in log
    assert ended(pool, within=5)
