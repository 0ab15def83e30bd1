"""The recordings to measure on, the same for every codec: 24 kHz, mono, one level."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr

from benchmarks.codec_metrics import RATE, Samples
from lina.core.audio.read import AudioError, read_audio
from lina.core.corpus.manifest import read_lines
from lina.core.errors import DataError, LinaError
from lina.core.registry import load
from lina.core.utterance import Utterance

SOURCE_RATE = 24_000
LEVEL = 10 ** (-23 / 20)
"""Root mean square of every recording, unless its peak would pass ``PEAK``."""
PEAK = 0.95
LONGEST = 15.0
"""Seconds: recognisers stop early on longer recordings."""
SHORTEST = 0.4


@dataclass(frozen=True)
class Recording:
    id: str
    audio: Path
    text: str
    language: str
    rated: bool = True
    """Measure DNSMOS and Distill-MOS, which take longer than all other measures but WER together."""


@dataclass(frozen=True)
class AudioSet:
    name: str
    recordings: tuple[Recording, ...]
    left_out: int
    """Recordings that are too long, too short or unreadable."""

    @property
    def fingerprint(self) -> str:
        """Of the recordings' names and sizes: rows are compared only where it is the same."""
        seen = [f"{one.id} {one.audio.stat().st_size} {one.language}" for one in self.recordings]
        return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def read_set(folder: Path, count: int | None = None, rated: int | None = None) -> AudioSet:
    """``folder``'s manifest.jsonl, or ``count`` recordings spread evenly over it; of them ``rated`` are rated.

    Raises:
        DataError: there is no manifest, or no recording of 0.4 to 15 s in it.
    """
    manifest = folder / "manifest.jsonl"
    plugin = load("corpus", "jsonl")
    config = plugin.Config.model_validate({"path": manifest, "allow_outside": True})
    languages = _languages(manifest)
    kept, left_out = [], 0
    for one in plugin.read(config=config):
        if isinstance(one, Utterance) and _fits(one.audio):
            kept.append(Recording(one.id, one.audio, one.text, languages.get(one.id, "en")))
        else:
            left_out += 1
    if not kept:
        raise DataError(
            f"{manifest}: no usable recording of {SHORTEST:g} to {LONGEST:g} s in {left_out} lines"
        )
    kept = [kept[number] for number in _spread(len(kept), count)]
    chosen = _spread(len(kept), rated)
    return AudioSet(
        folder.resolve().name,
        tuple(replace(one, rated=number in chosen) for number, one in enumerate(kept)),
        left_out,
    )


def _spread(there: int, target: int | None) -> list[int]:
    """So many numbers below ``there``, evenly spread; at most all."""
    if target is None or target >= there:
        return list(range(there))
    return [int(number) for number in np.linspace(0, there - 1, target)]


def _fits(path: Path) -> bool:
    try:
        samples = read_audio(path, RATE, max_seconds=LONGEST).shape[1]
    except AudioError:
        return False
    return samples >= SHORTEST * RATE


def _languages(manifest: Path) -> dict[str, str]:
    """``language`` of lines that have one; what else is wrong with a line is the corpus plugin's to say."""
    found = {}
    for line in read_lines(manifest):
        try:
            fields = json.loads(line.text)
            found[str(fields["id"])] = str(fields["language"]).split("-")[0].lower()
        except (ValueError, KeyError, TypeError):
            continue
    return found


def source_audio(recording: Recording) -> Samples:
    """One channel at 24 kHz, at the common level.

    Raises:
        LinaError: the file has become unreadable.
    """
    try:
        audio = read_audio(recording.audio, SOURCE_RATE, max_seconds=LONGEST)[0].numpy()
    except AudioError as error:
        raise LinaError(f"{error}; the recordings changed while they were measured") from None
    loudness, peak = float(np.sqrt(np.mean(audio**2))), float(np.abs(audio).max())
    return np.asarray(audio * min(LEVEL / loudness, PEAK / peak), dtype=np.float32)


def resampled(audio: Samples, rate: int, target: int) -> Samples:
    """By soxr in high quality, which delays nothing."""
    return audio if rate == target else np.asarray(soxr.resample(audio, rate, target, quality="HQ"))
