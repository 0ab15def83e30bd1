"""Lengths of the utterances that a spec trains on: of its encoded corpus, or by the headers of the recordings."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from lina.config.resolve import ResolvedSpec
from lina.core.audio.read import AudioError, audio_seconds
from lina.core.corpus.manifest import without_duplicates
from lina.core.errors import DataError
from lina.core.utterance import Utterance
from lina.data.batch_plan import Integers
from lina.data.token_dataset import TokenDataset

DRAWN_AT_ONCE = 1 << 20


class CorpusLengths(NamedTuple):
    frames: Integers
    """Of each utterance, int32 [N]."""
    speakers: Integers
    """A number per utterance; 0 is unknown."""
    origin: str
    """Description of the source."""


def corpus_lengths(resolved: ResolvedSpec, frame_rate: float) -> CorpusLengths:
    """Lengths of all usable utterances, both sides of the split.

    Raises:
        DataError: the corpus is missing, or has no usable utterance.
    """
    folder = resolved.spec.train.out / "data"
    if (folder / "manifest.json").is_file():
        dataset = TokenDataset(folder, verify=False)
        return CorpusLengths(
            dataset.lengths.astype(np.int32), _numbers(dataset.speakers), f"encoded: {folder}"
        )
    return _by_headers(resolved, frame_rate)


def drawn(known: CorpusLengths, hours: float, frame_rate: float, seed: int) -> CorpusLengths:
    """A corpus of ``hours`` hours whose lengths and speakers are drawn from those of ``known``."""
    count = max(1, round(hours * 3600 * frame_rate / float(known.frames.mean())))
    generator = np.random.Generator(np.random.Philox(key=[seed & (2**64 - 1), 0]))
    frames, speakers = np.empty(count, np.int32), np.empty(count, np.int32)
    for start in range(0, count, DRAWN_AT_ONCE):
        chosen = generator.integers(0, len(known.frames), min(DRAWN_AT_ONCE, count - start))
        frames[start : start + len(chosen)] = known.frames[chosen]
        speakers[start : start + len(chosen)] = known.speakers[chosen]
    return CorpusLengths(frames, speakers, f"drawn from {len(known.frames):,} utterances ({known.origin})")


def _by_headers(resolved: ResolvedSpec, frame_rate: float) -> CorpusLengths:
    section = resolved.spec.data
    seconds: list[float] = []
    speakers: list[str] = []
    for item in without_duplicates(resolved.corpus.plugin.read(config=resolved.corpus.config)):
        if (
            isinstance(item, Utterance)
            and section.min_seconds <= (length := _seconds(item.audio)) <= section.max_seconds
        ):
            seconds.append(length)
            speakers.append(item.speaker)
    frames = np.ceil(np.array(seconds) * frame_rate).astype(np.int32)
    if not (frames > 0).any():
        raise DataError(f"data: corpus {section.source!r} has no usable utterance; try: lina data inspect")
    return CorpusLengths(frames.clip(min=1), _numbers(speakers), "not encoded yet: durations by headers")


def _seconds(path: Path) -> float:
    try:
        return audio_seconds(path)
    except AudioError:
        return -1.0


def _numbers(speakers: list[str]) -> Integers:
    names = {"": 0} | {name: number for number, name in enumerate(sorted(set(speakers) - {""}), start=1)}
    return np.array([names[one] for one in speakers], dtype=np.int32)
