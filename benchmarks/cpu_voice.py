"""The child process of benchmarks/cpu.py: speaks texts by ``lina.load()``, and imports no more than that does."""

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import lina

TEXTS = Path(__file__).resolve().parent / "texts"
FIRST = "The ferry leaves the harbour at six in the morning. It stops at three small islands."


def texts(count: int) -> list[str]:
    """The first lines of ``benchmarks/texts``."""
    files = sorted(TEXTS.glob("*.txt"))
    lines = [line.strip() for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line][:count]


def measure(backend: str, count: int) -> dict[str, float]:
    """Times real time, CPU seconds per second of audio, the median time to the first audio, and the largest memory.

    The voice has spoken once before.
    """
    voice = lina.load(backend=backend, device="auto" if backend == "auto" else "cpu")  # type: ignore[arg-type]
    voice.say(FIRST)
    first, seconds, samples, computing = [], 0.0, 0, time.process_time()
    for text in texts(count):
        began = time.perf_counter()
        for place, chunk in enumerate(voice.stream(text)):
            if not place:
                first.append(time.perf_counter() - began)
            samples += chunk.shape[1]
        seconds += time.perf_counter() - began
    computing = time.process_time() - computing
    return {
        "cpu_per_second": computing * voice.sample_rate / samples,
        "times_real_time": samples / voice.sample_rate / seconds,
        "first_audio_ms": 1e3 * statistics.median(first),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_torch": float("torch" in sys.modules),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
