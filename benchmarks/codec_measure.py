"""Measures and code usage of each codec on each recording, in one process or several."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.codec_audio import SOURCE_RATE, Recording, resampled, source_audio
from benchmarks.codec_metrics import RATE, Judge, Samples, fitted, judges, lag
from benchmarks.codec_subjects import Choice, Subject
from lina.core.audio.codec import AnyCodec, decode, encode
from lina.core.errors import PluginError
from lina.core.process.workers import work
from lina.core.protocols import Recognizer
from lina.core.registry import load
from lina.evaluation.error_rates import count_errors
from lina.evaluation.metrics import AUDIO_METRICS

LAG_RESOLUTION = 2.0
"""Milliseconds: shorter delays are below the resolution of the measurement."""


@dataclass(frozen=True)
class Result:
    """One recording through one codec."""

    values: dict[str, float | None]
    counts: tuple[NDArray[np.int64], ...] = ()
    """Count of each entry of each codebook."""
    transcript: str | None = None


@dataclass
class Listeners:
    """Recognizers by language: Whisper tiny.en for English, ``multilingual`` or Whisper base for all others."""

    multilingual: Path | None = None
    enabled: bool = True
    missing: str = field(default="", init=False)
    """Reason why Whisper base cannot be built."""

    def __post_init__(self) -> None:
        self.of = cache(self._build)

    def _build(self, language: str) -> Recognizer | None:
        if not self.enabled:
            return None
        plugin = load("recognizer", "faster-whisper")
        keys: dict[str, Any] = {"language": language}
        if language != "en":
            keys |= {"weights": self.multilingual} if self.multilingual else {"model": "base"}
        try:
            return plugin.build(config=plugin.Config.model_validate(keys))
        except PluginError as error:
            if "model" not in keys:
                raise
            self.missing = str(error)
            return None

    def complaint(self, languages: set[str]) -> str | None:
        """Reason of missing word error rates of some languages; None if there are none."""
        if not self.enabled:
            return None
        try:
            deaf = sorted(language for language in languages if self.of(language) is None)
        except PluginError as error:
            self.enabled = False
            self.of.cache_clear()
            return f"WER is left out: {error}"
        if not deaf:
            return None
        return (
            f"WER is left out for {', '.join(deaf)}: {self.missing}, or name a Whisper by --multilingual DIR"
        )


@dataclass
class Bench:
    """Measures one codec: its metrics and its recognizers."""

    subject: Subject
    judges: dict[str, Judge]
    delay: float = 0.0
    """Milliseconds removed before anything is measured."""
    listeners: Listeners = field(default_factory=lambda: Listeners(enabled=False))

    def __call__(self, recording: Recording) -> Result:
        source = source_audio(recording)
        reference = resampled(source, SOURCE_RATE, RATE)
        decoded, counts = through(self.subject.codec, source, reference, self.delay)
        values = {
            name: judge(reference, decoded) if recording.rated or name not in AUDIO_METRICS else None
            for name, judge in self.judges.items()
        }
        transcript = self._transcript(recording, decoded)
        return Result(values | {"errors": errors(recording, transcript)}, counts, transcript)

    def _transcript(self, recording: Recording, decoded: Samples) -> str | None:
        listener = self.listeners.of(recording.language)
        if listener is None:
            return None
        return listener.transcribe(torch.from_numpy(resampled(decoded, RATE, listener.sample_rate)))


def errors(recording: Recording, transcript: str | None) -> int | None:
    """Wrong words of a transcript; None without one."""
    if transcript is None:
        return None
    return count_errors(recording.text, transcript, recording.language).wrong_words


def words(recording: Recording) -> int:
    """Words that a word error rate counts."""
    return count_errors(recording.text, "", recording.language).words


def through(
    codec: AnyCodec | None, source: Samples, reference: Samples, delay: float = 0.0
) -> tuple[Samples, tuple[NDArray[np.int64], ...]]:
    """Return the codec's resynthesis of 24 kHz audio, at 16 kHz and as long as ``reference``, and its code counts.

    ``delay`` is the codec's own, in milliseconds: silence is added to its input, and as much cut off what comes out.
    """
    if codec is None:
        return fitted(reference, len(reference)), ()
    longer = np.pad(source, (0, max(0, round(delay / 1000 * SOURCE_RATE))))
    audio = torch.from_numpy(resampled(longer, SOURCE_RATE, codec.sample_rate))
    with torch.inference_mode():
        codes = encode(codec, audio.expand(1, codec.channels, -1))
        decoded = decode(codec, codes)[0].mean(dim=0).numpy()
    counts = tuple(
        np.bincount(codes[0, :, book].numpy(), minlength=size)
        for book, size in enumerate(codec.codebook_sizes)
    )
    late = resampled(decoded, codec.sample_rate, RATE)
    shift = round(delay / 1000 * RATE)
    return fitted(late[shift:] if shift >= 0 else np.pad(late, (-shift, 0)), len(reference)), counts


def delay(codec: AnyCodec, recordings: Sequence[Recording]) -> float:
    """Milliseconds by which a codec's audio comes late: the median lag over recordings, 0 below ``TELLING``.

    By contract none does, but no law can see it.
    """
    lags = []
    for recording in recordings:
        source = source_audio(recording)
        reference = resampled(source, SOURCE_RATE, RATE)
        lags.append(lag(reference, through(codec, source, reference)[0]))
    late = float(np.median(lags))
    return late if abs(late) > LAG_RESOLUTION else 0.0


@dataclass(frozen=True)
class Plan:
    """Settings of the measurement, sent to each process."""

    choice: Choice
    only: str
    """Name of the subject to measure."""
    columns: tuple[str, ...]
    delay: float
    quick: bool
    multilingual: Path | None
    recognize: bool

    def bench(self) -> Bench:
        torch.set_num_threads(1)
        subject = next(one for one in self.choice.subjects()[0] if one.name == self.only)
        measures = {name: judge for name, judge in judges(self.quick)[0].items() if name in self.columns}
        return Bench(subject, measures, self.delay, Listeners(self.multilingual, self.recognize))


def measure_all(
    plan: Plan, recordings: Sequence[Recording], jobs: int, progress: Callable[[int], None]
) -> list[Result]:
    """A result for each recording, in order; by ``jobs`` processes of one core each."""
    results = []
    with closing(work(recordings, _measure, plan.bench, jobs, attrgetter("id"))) as measured:
        for result in measured:
            results.append(result)
            progress(len(results))
    return results


def _measure(bench: Bench, recording: Recording) -> Result:
    return bench(recording)
