"""Many streams of the shipped voice at once on a GPU, one stream, and the first sentence of a process.

    python -m benchmarks.streams --json benchmarks/streams.json

Parts. ``first``: in processes of their own, the first sentence after ``lina.load()`` by default, on the GPU and on the
CPU (one thread), and a later one. ``one``: a single stream. ``saturated``: all of ``--streams`` are always running,
each begins its next text when one is complete; text ids are there. ``listeners``: each of ``--streams`` begins its next
text when the last one would have been played to the end; texts are encoded within the measured time. First audio counts
from the submission to samples on the host. A stream is late if a chunk comes after the moment at which it should be
played, had playback begun with the first one.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lina
from benchmarks.decode_models import ROOT
from benchmarks.streams_load import TEXTS, Load, listeners, saturated
from lina.core.state import state_bytes
from lina.engine.engine import Engine

PARTS = ("first", "one", "saturated", "listeners")
CHILD = """
import json, sys, time, lina
device, pause, text = json.loads(sys.argv[1])
began = time.perf_counter()
voice = lina.load(device=device)
load = time.perf_counter() - began
rows = []
for number in range(12):
    if number == 10:
        time.sleep(pause)
    began = time.perf_counter()
    chunks = iter(voice.stream(text))
    samples = next(chunks).shape[1]
    first = time.perf_counter() - began
    samples += sum(chunk.shape[1] for chunk in chunks)
    rows.append((first, time.perf_counter() - began, samples / voice.sample_rate))
print(json.dumps({"load": load, "first": rows[0], "last": rows[-1]}))
"""


def one_stream(voice: Any, seconds: float) -> dict[str, Any]:
    """A single voice, text by text."""
    voice.say(" ".join(TEXTS))
    engine = voice.engines._free[0][1]
    if engine._preparation is not None:  # of fused kernels, beside the first sentences
        engine._preparation.join()
    voice.say(TEXTS[0])
    firsts, speech, began = [], 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        at = time.perf_counter()
        chunks = iter(voice.stream(" ".join(TEXTS)))
        speech += next(chunks).shape[1]
        firsts.append(time.perf_counter() - at)
        speech += sum(chunk.shape[1] for chunk in chunks)
    rate = speech / voice.sample_rate / (time.perf_counter() - began)
    return {
        "times_real_time": round(rate, 1),
        "first_audio_ms": round(float(np.median(firsts)) * 1e3, 1),
        "backend": engine.backend_name,
    }


def first_sentence(device: str, pause: float) -> dict[str, Any]:
    """A process that loads the voice and speaks; it pauses before the later sentence."""
    arguments = [sys.executable, "-c", CHILD, json.dumps([device, pause, TEXTS[0]])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    (first, whole, speech), (later_first, later, _) = found["first"], found["last"]
    return {
        "device": device,
        "load": round(found["load"], 2),
        "first_audio_ms": round(first * 1e3, 1),
        "first_sentence": round(whole, 3),
        "speech": round(speech, 2),
        "load_and_sentence": round(found["load"] + whole, 2),
        "later_first_audio_ms": round(later_first * 1e3, 1),
        "later_sentence": round(later, 3),
    }


def table(results: dict[str, Any]) -> str:
    """All rows in Markdown."""
    lines = [f"{results['gpu']}, torch {results['torch']}, {results['date']}", ""]
    for part, rows in results["parts"].items():
        keys = list(rows[0])
        lines += [f"| {part}: " + " | ".join(keys) + " |", "|---" * len(keys) + "|"]
        lines += ["| " + " | ".join(str(row[key]) for key in keys) + " |" for row in rows]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--backend", default="graph", choices=("graph", "compiled", "reference-graph"))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=6.0, help="seconds before it")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("streams: PyTorch sees no CUDA device", file=sys.stderr)
        return 2
    results: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "parts": {},
    }
    if arguments.json and arguments.json.exists():  # parts of this machine that are not measured again
        before = json.loads(arguments.json.read_text())
        if all(before[key] == results[key] for key in ("gpu", "torch")):
            results["parts"] = before["parts"]
    if "first" in arguments.parts:
        kinds = [("auto", 3.0), ("cuda", 3.0), ("cpu", 0.0)]
        results["parts"]["first"] = [first_sentence(*kind) for kind in kinds]
    if arguments.parts != ["first"]:
        voice = lina.load(ROOT / "lina/voices/english-1", device="cuda")
        voice.model.requires_grad_(False)
    if "one" in arguments.parts:
        results["parts"]["one"] = [one_stream(voice, arguments.seconds / 2)]
    for name, run in (("saturated", saturated), ("listeners", listeners)):
        if name not in arguments.parts:
            continue
        load = Load(voice, arguments.streams, arguments.backend)
        with torch.inference_mode(False):
            row = run(load, arguments.warm_up, arguments.seconds)
        row["backend"] = load.engine.backend_name
        row["bytes_per_slot"] = _bytes_per_slot(load.engine)
        results["parts"][name] = [row]
        del load
        torch.cuda.empty_cache()
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _bytes_per_slot(engine: Engine) -> int:
    assert engine._backend is not None
    return (state_bytes(engine._backend.state) + state_bytes(engine.audio.state)) // engine.slots


if __name__ == "__main__":
    sys.exit(main())
