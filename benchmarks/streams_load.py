"""Load of ``benchmarks.streams``: many streams of one voice, begun anew as they end, and their listeners."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lina.core.audio.codec import frame_rate
from lina.core.generation.stream_key import stream_key
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
