"""Fuzz every reader of files from elsewhere: each input is read, or refused with a ``LinaError``.

    python -m benchmarks.fuzz --minutes 30 --json benchmarks/fuzz.json [READER ...]

With atheris (Linux) the inputs are guided by coverage of lina's code, one process per reader; without, they are random
mutations. The inputs begin with ``tests/faults/corpus/READER``; one that fails, crashes the process or takes longer
than ``SLOWEST`` seconds goes into ``tests/faults/findings/READER``, and tests read both again. The file of figures
is written after each reader; it keeps other runs, by ``--label``.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.fuzz_readers import FINDINGS, READERS, inputs, try_input

ROOT = Path(__file__).parents[1]
LONGEST = 60_000
"""Bytes of an input."""
SLOWEST = 60
"""Seconds of an input, after which its process is ended and the input is a finding."""
REPORT_EVERY = 5.0
"""Seconds between the lines of figures of a reader's process, of which the last that arrived counts."""


def mutated(content: bytes, other: bytes, draw: random.Random) -> bytes:
    """A few random changes: bytes, pieces removed, doubled, or taken from another input."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at, size = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 4, 16, 64))
        change = draw.randrange(5)
        if change == 0:
            data[at : at + size] = draw.randbytes(len(data[at : at + size]))
        elif change == 1:
            del data[at : at + size]
        elif change == 2:
            data[at:at] = data[at : at + size] * draw.choice((1, 2, 40))
        elif change == 3 and other:
            start = draw.randrange(len(other))
            data[at : at + size] = other[start : start + size]
        else:
            data[at:at] = draw.choice(
                (b"\x00", b"\xff", b"[", b"{", b'"', b"-1", b"1e999", b"\xff\xff\xff\x7f", b"\n")
            )
    return bytes(data[:LONGEST])


class Figures:
    """Counts of one reader's process."""

    def __init__(self, reader: str) -> None:
        self.reader = reader
        self.inputs = 0
        self.slowest = 0.0
        self.failures: dict[str, int] = {}
        self.reported = time.monotonic()

    def add(self, content: bytes) -> None:
        began = time.perf_counter()
        failure = try_input(self.reader, content)
        self.slowest = max(self.slowest, time.perf_counter() - began)
        self.inputs += 1
        if failure is not None:
            kind = f"{type(failure).__name__}: {' '.join(str(failure).split())[:80]}"
            if kind not in self.failures:
                folder = FINDINGS / self.reader
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)
            self.failures[kind] = self.failures.get(kind, 0) + 1
        if time.monotonic() > self.reported + REPORT_EVERY:
            self.report()

    def report(self) -> None:
        self.reported = time.monotonic()
        print(json.dumps(self.result()), flush=True)

    def result(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "failures": self.failures,
            "slowest_seconds": round(self.slowest, 3),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def fuzz(reader: str, seconds: float, guided: bool) -> None:
    """Fuzz one reader in this process and print its figures as the last line."""
    figures, end = Figures(reader), time.monotonic() + seconds
    starts = inputs(reader) or [b""]
    if not guided:
        draw = random.Random(0)
        while time.monotonic() < end:
            figures.add(mutated(draw.choice(starts), draw.choice(starts), draw))
        figures.report()
        return
    import atheris

    with atheris.instrument_imports(include=["lina"]):
        try_input(reader, starts[0])

    def one(content: bytes) -> None:
        figures.add(content)
        if time.monotonic() > end:
            figures.report()
            os._exit(0)

    folder, findings = tempfile.mkdtemp(), FINDINGS / reader
    for number, content in enumerate(starts):
        (Path(folder) / str(number)).write_bytes(content)
    findings.mkdir(parents=True, exist_ok=True)
    options = (f"-max_len={LONGEST}", "-rss_limit_mb=0", f"-timeout={SLOWEST}", "-verbosity=0")
    atheris.Setup([sys.argv[0], folder, *options, f"-artifact_prefix={findings}/"], one)
    atheris.Fuzz()


def fuzz_apart(reader: str, seconds: float) -> dict[str, Any]:
    """Fuzz a reader in a process of its own and return its figures, with the end of a crash, if there was one."""
    command = [sys.executable, "-m", "benchmarks.fuzz", reader, "--one", str(seconds)]
    end = f"no end {3 * SLOWEST} s after its time"
    # Compilers and coverage take their time before the first input, so the limit is generous.
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 3 * SLOWEST)
        output, crash = done.stdout, done.stderr[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        output, crash = (error.stdout or b"").decode(), end
    lines = [line for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    figures: dict[str, Any] = json.loads(lines[-1]) if lines else {"inputs": 0}
    if (folder := FINDINGS / reader).is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    return figures | ({"crash": crash} if crash or not lines else {})


def record(guided: bool, minutes: float, readers: dict[str, Any]) -> dict[str, Any]:
    """A run's figures with its date, commit and machine."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": subprocess.run(git, capture_output=True, text=True, cwd=ROOT).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "guided": guided,
        "minutes": minutes,
        "readers": readers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--minutes", type=float, default=30.0, help="for all readers together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--label", default="after", help="name of this run in the file")
    parser.add_argument("--one", type=float, metavar="SECONDS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        import atheris  # noqa: F401 (only asks for it)

        guided = True
    except ImportError:
        guided = False
    readers = arguments.readers or list(READERS)
    if arguments.one:
        fuzz(readers[0], arguments.one, guided)
        return
    figures: dict[str, Any] = {}
    for reader in readers:
        figures[reader] = fuzz_apart(reader, 60 * arguments.minutes / len(readers))
        print(reader, json.dumps(figures[reader]), flush=True)
        if arguments.json:
            runs = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
            runs[arguments.label] = record(guided, arguments.minutes, figures)
            arguments.json.write_text(json.dumps(runs, indent=1) + "\n")
    sys.exit(any(one.get("failures") or "crash" in one for one in figures.values()))


if __name__ == "__main__":
    main()
