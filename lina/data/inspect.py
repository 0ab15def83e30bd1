"""Statistics of a corpus before training, and fetching of corpora."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lina.core.audio.read import AudioError, audio_seconds, read_audio
from lina.core.corpus.manifest import without_duplicates
from lina.core.files.names import cache_folder
from lina.core.plugin import CorpusPlugin
from lina.core.utterance import Reject, Utterance
from lina.data.rejects import count_kinds

DURATION_EDGES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 60.0, float("inf"))
"""Seconds; bin i of a histogram counts durations in [edge i, edge i + 1)."""


@dataclass(frozen=True)
class CorpusStatistics:
    """Statistics of a corpus. Durations are in seconds and cover the usable utterances."""

    utterances: int
    seconds: float
    shortest: float
    median: float
    longest: float
    histogram: tuple[int, ...]
    """Utterances between adjacent ``DURATION_EDGES``."""
    speakers: dict[str, int]
    """Utterances per speaker, most frequent first; "" is unknown."""
    characters: dict[str, int]
    """Count of each character in the texts, in alphabetical order."""
    words: int
    rejects: tuple[Reject, ...]

    @property
    def minutes(self) -> float:
        return self.seconds / 60

    @property
    def reject_kinds(self) -> dict[str, int]:
        """Number of rejects per kind of reason, most frequent first."""
        return count_kinds(self.rejects)


def inspect_corpus(
    items: Iterable[Utterance | Reject],
    *,
    decode: bool = False,
    max_seconds: float = 60.0,
    report: Callable[[int], None] | None = None,
) -> CorpusStatistics:
    """Compute the statistics of a corpus.

    Args:
        items: entries from a corpus plugin's ``read``.
        decode: decode every recording, as encoding will, to find damaged, silent and overlong ones; otherwise durations
            are those of the headers (fast).
        max_seconds: longest usable recording, if ``decode`` is true.
        report: called with the number of finished entries.

    Raises:
        DataError: the corpus is missing.
        PluginError: a package that its file format needs is not installed.
    """
    durations: list[float] = []
    speakers: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    words = 0
    rejects: list[Reject] = []
    for done, item in enumerate(without_duplicates(items), start=1):
        if isinstance(item, Reject):
            rejects.append(item)
        elif isinstance(duration := _duration(item, decode, max_seconds), Reject):
            rejects.append(duration)
        else:
            durations.append(duration)
            speakers[item.speaker] += 1
            characters.update(item.text)
            words += len(item.text.split())
        if report is not None:
            report(done)
    seconds = np.array(durations or [0.0])
    return CorpusStatistics(
        utterances=len(durations),
        seconds=float(seconds.sum()),
        shortest=float(seconds.min()),
        median=float(np.median(seconds)),
        longest=float(seconds.max()),
        histogram=tuple(np.histogram(durations, DURATION_EDGES)[0].tolist()),
        speakers=dict(speakers.most_common()),
        characters=dict(sorted(characters.items())),
        words=words,
        rejects=tuple(rejects),
    )


def get_corpus(plugin: type[CorpusPlugin], name: str, folder: Path | None = None) -> Path:
    """Fetch a corpus into ``folder`` (default: ``name`` in the cache, where its plugin looks for it).

    Raises:
        DataError: it cannot be fetched; the message says what to do by hand.
    """
    return plugin.get(folder or cache_folder() / name)


def _duration(utterance: Utterance, decode: bool, max_seconds: float) -> float | Reject:
    try:
        if not decode:
            return audio_seconds(utterance.audio)
        rate = 16_000
        return read_audio(utterance.audio, rate, max_seconds=max_seconds).shape[1] / rate
    except AudioError as error:
        return Reject(id=utterance.id, where=str(utterance.audio), reason=error.reason)
