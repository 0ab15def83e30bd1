"""From clips to a group's numbers: each a mean, a rate or a median with its confidence interval over texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lina.evaluation.bootstrap import interval, median_interval
from lina.evaluation.records import CODEC, RECORDINGS, SYSTEMS, ClipRecord
from lina.runs.records import EvaluationGroup, Interval

LARGEST_CHARACTER_ERROR_RATE = 0.3
DURATION_RATIOS = 0.6, 1.6
"""Beyond these, or that error rate, a text has failed: something was skipped, said again, or never ended."""

Pair = tuple[float | None, float | None]
"""A value and its weight; a group's number is the sum of values over the sum of weights."""


@dataclass(frozen=True)
class Measure:
    label: str
    """What a table calls it."""
    of: Callable[[ClipRecord, float | None], Pair]
    """Of a clip and its recording's duration, where there is one."""
    share: bool = False
    """A part of something, to be read in percent."""
    median: bool = False
    """The group's number is the median of the values; weights do not count."""


MEASURES: Mapping[str, Measure] = {
    "word_error_rate": Measure("word errors", lambda clip, _: (clip.wrong_words, clip.words), share=True),
    "character_error_rate": Measure(
        "character errors", lambda clip, _: (clip.wrong_characters, clip.characters), share=True
    ),
    "failed": Measure("failed texts", lambda clip, reference: (failed(clip, reference), 1), share=True),
    "dnsmos": Measure("DNSMOS", lambda clip, _: (clip.dnsmos, 1)),
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

COMPARED = ("word_error_rate", "character_error_rate", "dnsmos", "similarity")


def groups(clips: Sequence[ClipRecord], names: Sequence[str] = SYSTEMS) -> tuple[EvaluationGroup, ...]:
    """A group for each system that has said anything."""
    by_system = {name: {one.id: one for one in clips if one.system == name} for name in names}
    recordings = {id: one.seconds for id, one in by_system.get(RECORDINGS, {}).items()}
    ceiling = by_system.get(CODEC, {})
    return tuple(
        group(name, list(said.values()), recordings, {} if name == CODEC else ceiling)
        for name, said in by_system.items()
        if said
    )


def group(
    name: str,
    clips: Sequence[ClipRecord],
    recordings: Mapping[str, float] | None = None,
    ceiling: Mapping[str, ClipRecord] | None = None,
) -> EvaluationGroup:
    """Numbers of clips of different texts. ``recordings``: the recordings' durations by id."""
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
    """1 or 0, judged from outside; None if nobody has heard it. ``reference``: the recording's seconds, if any."""
    ratio = _ratio(clip, reference)
    if clip.wrong_characters is None or clip.characters is None:
        return None
    wrong = clip.wrong_characters / clip.characters > LARGEST_CHARACTER_ERROR_RATE
    low, high = DURATION_RATIOS
    return float(wrong or (ratio is not None and not low <= ratio <= high))
