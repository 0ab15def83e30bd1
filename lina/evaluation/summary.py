"""Summaries of clips: means, rates and medians with their confidence intervals over texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lina.evaluation.bootstrap import interval, median_interval
from lina.evaluation.records import CODEC, RECORDINGS, SYSTEMS, ClipRecord
from lina.runs.records import EvaluationGroup, Interval

LARGEST_CHARACTER_ERROR_RATE = 0.3
DURATION_RATIOS = 0.6, 1.6
"""A text fails outside this range, or above that error rate: words skipped or repeated, or no end."""

Pair = tuple[float | None, float | None]
"""Value and weight; the summary of a group is the sum of values over the sum of weights."""


@dataclass(frozen=True)
class Measure:
    label: str
    """Row header in tables."""
    of: Callable[[ClipRecord, float | None], Pair]
    """Computes it from a clip and the duration of its recording, if any."""
    share: bool = False
    """Fraction, displayed in percent."""
    median: bool = False
    """Summarized by the median of the values, without weights."""


MEASURES: Mapping[str, Measure] = {
    "word_error_rate": Measure("word errors", lambda clip, _: (clip.wrong_words, clip.words), share=True),
    "character_error_rate": Measure(
        "character errors", lambda clip, _: (clip.wrong_characters, clip.characters), share=True
    ),
    "failed": Measure("failed texts", lambda clip, reference: (failed(clip, reference), 1), share=True),
    "dnsmos": Measure("DNSMOS", lambda clip, _: (clip.dnsmos, 1)),
    "distill_mos": Measure("Distill-MOS", lambda clip, _: (clip.distill_mos, 1)),
    "similarity": Measure("speaker similarity", lambda clip, _: (clip.similarity, 1)),
    "duration_ratio": Measure("duration ratio", lambda clip, reference: (_ratio(clip, reference), 1)),
    "skipped": Measure("skipped", lambda clip, _: (clip.skipped, 1), share=True),
    "repeated": Measure("repeated", lambda clip, _: (clip.repeated, 1), share=True),
    "unread": Measure("unread at the end", lambda clip, _: (clip.unread, 1), share=True),
    "cut": Measure(
        "never ended",
        lambda clip, _: (None if clip.stopped is None else float(not clip.stopped), 1),
        share=True,
    ),
    "real_time_factor": Measure(
        "real-time factor",
        lambda clip, _: (clip.synthesis_seconds, None if clip.synthesis_seconds is None else clip.seconds),
    ),
    "first_audio_median": Measure(
        "first audio, median (s)", lambda clip, _: (clip.first_audio, 1), median=True
    ),
}
"""In the order of tables."""

COMPARED = ("word_error_rate", "character_error_rate", "dnsmos", "distill_mos", "similarity")


def groups(clips: Sequence[ClipRecord], names: Sequence[str] = SYSTEMS) -> tuple[EvaluationGroup, ...]:
    """Summarize each system that has clips."""
    by_system = {name: {one.id: one for one in clips if one.system == name} for name in names}
    recordings = {id: one.seconds for id, one in by_system.get(RECORDINGS, {}).items()}
    ceiling = by_system.get(CODEC, {})
    return tuple(
        group(name, list(own.values()), recordings, {} if name == CODEC else ceiling)
        for name, own in by_system.items()
        if own
    )


def group(
    name: str,
    clips: Sequence[ClipRecord],
    recordings: Mapping[str, float] | None = None,
    ceiling: Mapping[str, ClipRecord] | None = None,
) -> EvaluationGroup:
    """Summarize clips of different texts.

    Args:
        name: Of the system.
        clips: One per text.
        recordings: Durations of the recordings in seconds, by text id.
        ceiling: Clips of the system to compare with, by text id.
    """
    durations = recordings or {}
    measures, differences = {}, {}
    for key, measure in MEASURES.items():
        pairs = [measure.of(clip, durations.get(clip.id)) for clip in clips]
        if found := _interval(pairs, measure.median):
            measures[key] = found
        if key in COMPARED and ceiling:
            against = [
                measure.of(ceiling[clip.id], durations.get(clip.id)) if clip.id in ceiling else (None, None)
                for clip in clips
            ]
            if found := _interval([_minus(one, other) for one, other in zip(pairs, against, strict=True)]):
                differences[key] = found
    return EvaluationGroup(
        name=name,
        sentences=len(clips),
        word_error_rate=_value(measures.get("word_error_rate")),
        character_error_rate=_value(measures.get("character_error_rate")),
        measures=measures,
        minus_ceiling=differences,
    )


def _interval(pairs: Sequence[Pair], median: bool = False) -> Interval | None:
    values, weights = (
        np.array([np.nan if x is None else x for x in column], dtype=np.float64)
        for column in zip(*pairs, strict=True)
    )
    return median_interval(values) if median else interval(values, weights)


def _minus(one: Pair, other: Pair) -> Pair:
    if one[0] is None or other[0] is None:
        return None, None
    return one[0] - other[0], one[1]


def _value(found: Interval | None) -> float | None:
    return None if found is None else found.value


def _ratio(clip: ClipRecord, reference: float | None) -> float | None:
    return None if not reference else clip.seconds / reference


def failed(clip: ClipRecord, reference: float | None) -> float | None:
    """Return 1 or 0 by transcript and duration; None without a transcript. ``reference``: seconds of the recording."""
    ratio = _ratio(clip, reference)
    if clip.wrong_characters is None or clip.characters is None:
        return None
    wrong = clip.wrong_characters / clip.characters > LARGEST_CHARACTER_ERROR_RATE
    low, high = DURATION_RATIOS
    return float(wrong or (ratio is not None and not low <= ratio <= high))
