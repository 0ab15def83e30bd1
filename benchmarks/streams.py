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
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lina
from benchmarks.decode_models import ROOT
from lina.core.audio.codec import frame_rate
from lina.core.generation.stream_key import stream_key
from lina.core.state import state_bytes
from lina.engine.engine import Engine
from lina.engine.request import Request
from lina.engine.state import Features
from lina.engine.stream import Stream

TEXTS = (
    "The ferry leaves the harbour at six in the morning.",
    "It stops at three small islands before it turns back.",
    "Please hold the line, somebody will be with you shortly.",
    "Your package has been delivered to the neighbour across the street.",
    "In the evening the wind turned and the boats came home early.",
    "She put the letter on the table and did not read it until noon.",
    "There are two trains on Sunday, one at nine and one at four.",
    "Nobody had expected the bridge to open again this year.",
    "Turn left after the church and follow the river for a mile.",
    "The meeting has been moved to Thursday afternoon.",
    "He counted the coins twice and found that one was missing.",
    "A light rain is expected along the coast tomorrow.",
)
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


@dataclass
class Playback:
    """One stream of audio as its listener hears it."""

    stream: Stream
    submitted: float
    rate: int
    first: float | None = None
    last: float = 0.0
    samples: int = 0
    lateness: float = field(default=-np.inf)

    def hear(self, samples: int, now: float) -> None:
        if self.first is None:
            self.first = now
        else:
            self.lateness = max(self.lateness, now - self.first - self.samples / self.rate)
        self.samples += samples
        self.last = now

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


class Load:
    """Streams of a voice on one engine, which are begun and known from one loop."""

    def __init__(self, voice: Any, streams: int, backend: Any) -> None:
        self.voice, self.count = voice, streams
        self.options = voice.resolve_options({})
        self.items = [voice.input(text) for text in TEXTS]
        self.number = 0
        some = self._requests(range(len(TEXTS)))
        features = Features.of(some, len(voice.codec.codebook_sizes))
        self.engine = Engine(
            voice.model, streams, backend=backend, decoder=voice.engines.decoder, features=features
        )
        self.turns = 0
        self.playing: list[Playback] = []
        self.over: list[Playback] = []
        gc.freeze()  # what is there now stays; collections need not look at it again and again

    def _requests(self, texts: Sequence[int], read: bool = False) -> list[Request]:
        """Requests for texts, encoded together."""
        voice, options = self.voice, self.options
        ids = [(voice.input(TEXTS[one]) if read else self.items[one]).ids for one in texts]
        conditions = voice.encode_conditions(voice.model, ids, options.speaker)
        rate, found = frame_rate(voice.codec), []
        frames, window = int(options.max_seconds * rate), options.window(rate)
        for row in range(len(ids)):
            key = stream_key(0, self.number + row)
            found.append(Request(conditions, options.sampling, frames, key, window=window, row=row))
        return found

    def begin(self, count: int, read: bool, since: Sequence[float] | None = None) -> None:
        now = time.perf_counter()
        texts = [(self.number + place) % len(TEXTS) for place in range(count)]
        for place, request in enumerate(self._requests(texts, read)):
            stream = self.engine.submit(replace(request, audio=self.engine.open_audio()))
            submitted = now if since is None else since[place]
            self.playing.append(Playback(stream, submitted, self.voice.sample_rate))
        self.number += count

    def turn(self) -> None:
        """Turn the engine's loop once, and read the answers that have come."""
        self.turns += 1
        steps = self.engine.steps
        if self.playing:
            self.engine.drive(lambda: self.engine.steps > steps or self.engine.idle)
        now = time.perf_counter()
        playing: list[Playback] = []
        for one in self.playing:
            audio = one.stream.request.audio
            assert audio is not None
            if audio.has_more:
                one.hear(sum([chunk.shape[-1] for chunk in audio.take_samples()]), now)
            (self.over if one.stream.finished and audio.settled and not audio.has_more else playing).append(
                one
            )
        self.playing = playing


def saturated(load: Load, warm_up: float, seconds: float) -> dict[str, Any]:
    """All streams always run."""
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + warm_up + seconds:
        if now < began + warm_up:
            load.turns = 0
        if missing := load.count - len(load.playing):
            load.begin(missing, read=False)
        load.turn()
    return summary(load, began + warm_up, now)


def listeners(load: Load, warm_up: float, seconds: float) -> dict[str, Any]:
    """Every stream is played to its end before the next text of its listener is submitted."""
    began = time.perf_counter()
    generator = np.random.default_rng(0)
    due = list(began + generator.uniform(0, min(warm_up, 4.0), load.count))
    known = 0
    while (now := time.perf_counter()) < began + warm_up + seconds:
        if now < began + warm_up:
            load.turns = 0
        ready = [moment for moment in due if moment <= now][:64]
        if ready:
            due = sorted(due)[len(ready) :]
            load.begin(len(ready), read=True, since=sorted(ready))
        if load.playing:
            load.turn()
        else:
            time.sleep(0.001)
        for one in load.over[known:]:
            due.append((one.first or one.last) + one.seconds)
        known = len(load.over)
    return summary(load, began + warm_up, now)


def summary(load: Load, since: float, until: float) -> dict[str, Any]:
    """Of the streams that were submitted in this time and are over."""
    own = [one for one in load.over if one.submitted >= since and one.first is not None]
    waits = np.array([one.first - one.submitted for one in own if one.first is not None]) * 1e3
    rates = np.array([one.seconds / max(one.last - (one.first or 0.0), 1e-9) for one in own])
    speech = sum(one.seconds for one in load.over if one.last >= since)
    return {
        "streams": load.count,
        "turns_per_second": round(load.turns / (until - since)),
        "texts": len(own),
        "speech_seconds_per_second": round(speech / (until - since)),
        "first_audio_ms": {str(q): round(float(np.percentile(waits, q)), 1) for q in (50, 95, 99)},
        "slowest_times_real_time": round(float(rates.min()), 2),
        "late": sum(one.lateness > 0 for one in own),
    }


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
