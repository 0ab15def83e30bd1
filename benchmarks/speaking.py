"""Speed of synthesis on this machine's CPU: by number of threads, beside a busy process, and from a cold start.

    python -m benchmarks.speaking --json speaking.json

Times real time (seconds of speech per second) of ``lina.load()`` with its default, one and all threads, alone and
beside a process that keeps one core busy; and the parts of a cold ``lina say``: importing PyTorch, speaking, and the
rest. All are medians over rounds in which each is measured once, in a process of its own. Run it on an idle machine:
the load at the beginning is part of the result.
"""

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEXT = "The ferry leaves the harbour at six in the morning. It stops at three small islands."
COLD_TEXT = "Your call cannot be completed as dialed."
CHILD = """
import json, sys, time, lina
run, threads, text = json.loads(sys.argv[1])
voice = lina.load(run, threads=threads)
for _ in range(2):
    began = time.perf_counter()
    audio = voice.say(text)
    seconds = time.perf_counter() - began
print(audio.shape[1] / voice.sample_rate / seconds)
"""
BUSY = "while True: pass"
IMPORT = "import time; began = time.perf_counter(); import torch; print(time.perf_counter() - began)"


def times_real_time(run: str | None, threads: int | None) -> float:
    """Of the second time that a fresh process says ``TEXT``."""
    return float(_python("-c", CHILD, json.dumps([run, threads, TEXT])))


def cold_start(run: str | None) -> dict[str, float]:
    """Seconds of one ``lina say`` from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "out.wav")
        began = time.perf_counter()
        line = _python("-m", "lina", "say", COLD_TEXT, "-o", out, *([] if run is None else ["--run", run]))
        total = time.perf_counter() - began
    found = re.search(r": ([\d.]+) s of speech in ([\d.]+) s", line)
    if found is None:
        raise RuntimeError(f"lina say printed {line!r}")
    torch_import, speech, speaking = float(_python("-c", IMPORT)), float(found[1]), float(found[2])
    return {
        "total": total,
        "speech": speech,
        "import_torch": torch_import,
        "speaking": speaking,
        "rest": total - torch_import - speaking,
    }


def measure(run: str | None, rounds: int) -> dict[str, Any]:
    """Medians over rounds, and the ratio of the default to all threads within each round."""
    variants = {"default": None, "one thread": 1, "all threads": os.cpu_count() or 1}
    rates: dict[str, list[float]] = {
        f"{name}, {company}": [] for company in ("alone", "beside a busy process") for name in variants
    }
    cold: list[dict[str, float]] = []
    machine = _machine()
    for _ in range(rounds):
        for name, threads in variants.items():
            rates[f"{name}, alone"].append(times_real_time(run, threads))
        with _busy_process():
            for name, threads in variants.items():
                rates[f"{name}, beside a busy process"].append(times_real_time(run, threads))
        cold.append(cold_start(run))
    gains = {
        company: statistics.median(
            one / other
            for one, other in zip(rates[f"default, {company}"], rates[f"all threads, {company}"], strict=True)
        )
        for company in ("alone", "beside a busy process")
    }
    return {
        "machine": machine,
        "rounds": rounds,
        "times_real_time": {name: statistics.median(values) for name, values in rates.items()},
        "default_to_all_threads": gains,
        "cold_say_seconds": {key: statistics.median(one[key] for one in cold) for key in cold[0]},
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    machine, cold = result["machine"], result["cold_say_seconds"]
    lines = [
        f"{machine['cores']} cores, {machine['processor']}, PyTorch {machine['torch']}, load {machine['load']:.1f}, "
        f"{machine['date']}, medians of {result['rounds']}",
        "",
        "| `lina.load()`, threads | times real time |",
        "|---|---|",
        *(f"| {name} | {value:.1f} |" for name, value in result["times_real_time"].items()),
        "",
        f"| cold `lina say`, {cold['speech']:.1f} s of speech | s |",
        "|---|---|",
        *(
            f"| {key.replace('_', ' ')} | {cold[key]:.2f} |"
            for key in ("total", "import_torch", "speaking", "rest")
        ),
    ]
    return "\n".join(lines)


@contextmanager
def _busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _python(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)[:60]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "torch": _python("-c", "import torch; print(torch.__version__)"),
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a run or an exported voice; lina's own if left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all numbers there")
    arguments = parser.parse_args()
    result = measure(arguments.run, arguments.rounds)
    print(table(result))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
