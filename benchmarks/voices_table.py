"""Summaries of scored clips by set and voice, the required bars of lina's voice, and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.voices_rows import CODEC, HIBARI, LINA, RECORDINGS
from benchmarks.voices_sets import ALL, REAL, SETS
from lina.evaluation.records import ClipRecord
from lina.evaluation.summary import failed, group
from lina.runs.records import EvaluationGroup

FLOORS = ("espeak-ng", "flite", "festival")
"""lina must be above these; piper and hibari are only beside it."""
WER_ABOVE = {"everyday": 0.02, "long": 0.02, "hard": 0.05}
DNSMOS_BELOW = 0.1
MOST_FAILED = 0.01
TIMES_REAL_TIME = 3.0
FIRST_AUDIO = 0.15
MEMORY_MIB = 600.0
MEMORY_GROWTH = 1.05
"""The last minute of a long text against the first, as in ``long.py``."""


@dataclass(frozen=True)
class Voice:
    """Scored clips of one row; ``again`` has the transcripts of Whisper base."""

    name: str
    clips: Sequence[ClipRecord]
    again: Sequence[ClipRecord] = ()
    process: Mapping[str, Any] | None = None
    known_speed: Mapping[str, float] | None = None
    """Measured at another time, where the clips' own times are not to be trusted."""

    @property
    def speed(self) -> Mapping[str, float] | None:
        return self.known_speed or speed(self.clips)


@dataclass(frozen=True)
class Bar:
    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def in_set(name: str, id: str) -> bool:
    return id.split("-")[0] == name or (name == ALL and id.split("-")[0] in SETS)


def sets_of(voices: Sequence[Voice]) -> list[str]:
    ids = [clip.id for voice in voices for clip in voice.clips]
    return [name for name in (*SETS, ALL, REAL) if any(in_set(name, id) for id in ids)]


def references(voices: Sequence[Voice]) -> dict[str, float]:
    """Seconds of each text: the recording's where there is one, else hibari's."""
    by_name = {voice.name: voice for voice in voices}
    return {
        clip.id: clip.seconds
        for name in (HIBARI, RECORDINGS)
        if name in by_name
        for clip in by_name[name].clips
    }


def summarize(voices: Sequence[Voice]) -> dict[str, dict[str, EvaluationGroup]]:
    """By voice and set: rates and means with intervals, and the differences to the codec's resynthesis."""
    durations = references(voices)
    ceiling = {clip.id: clip for voice in voices if voice.name == CODEC for clip in voice.clips}
    found: dict[str, dict[str, EvaluationGroup]] = {}
    for voice in voices:
        found[voice.name] = {}
        for name in sets_of(voices):
            clips = [clip for clip in voice.clips if in_set(name, clip.id)]
            if not clips:
                continue
            one = group(name, clips, durations, {} if voice.name == CODEC else ceiling)
            again = [clip for clip in voice.again if in_set(name, clip.id)]
            # Failures are for the better listener to tell; its other numbers are not those of the table.
            measures = {key: value for key, value in one.measures.items() if key != "failed"}
            if again:
                measures["failed"] = group(name, again, durations).measures["failed"]
            found[voice.name][name] = one.model_copy(update={"measures": measures})
    return found


def failures(voice: Voice, durations: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the failed texts with the transcripts of Whisper base."""
    found = []
    for clip in voice.again:
        if failed(clip, durations.get(clip.id)):
            rate = (clip.wrong_characters or 0) / (clip.characters or 1)
            ratio = clip.seconds / durations[clip.id] if durations.get(clip.id) else None
            found.append(
                {
                    "id": clip.id,
                    "text": clip.text,
                    "heard": clip.transcript,
                    "character_error_rate": round(rate, 3),
                    "duration_ratio": None if ratio is None else round(ratio, 3),
                }
            )
    return found


def speed(clips: Sequence[ClipRecord]) -> dict[str, float] | None:
    """Times real time over all clips, and when the first audio of a text was there."""
    timed = [clip for clip in clips if clip.synthesis_seconds]
    if not timed:
        return None
    found = {
        "times_real_time": sum(one.seconds for one in timed)
        / sum(one.synthesis_seconds or 0 for one in timed)
    }
    first = [one.first_audio for one in timed if one.first_audio is not None]
    if first:
        median, late = np.percentile(first, (50, 95))
        found |= {"first_audio_median": float(median), "first_audio_95": float(late)}
    return found


def bars(voices: Sequence[Voice]) -> list[Bar]:
    """Required bars of lina's voice, as far as they were measured."""
    lina = next((voice for voice in voices if voice.name == LINA), None)
    if lina is None:
        return []
    summaries = summarize(voices)
    own, found = summaries[LINA], []
    for name, limit in WER_ABOVE.items():
        if name in own and (above := own[name].minus_ceiling.get("word_error_rate")):
            found.append(Bar(f"{name}: WER above the ceiling", above.value, limit))
    if ALL in own:
        measures, above = own[ALL].measures, own[ALL].minus_ceiling.get("dnsmos")
        if "failed" in measures:
            found.append(Bar("texts failed", measures["failed"].value, MOST_FAILED))
        if above:
            found.append(Bar("DNSMOS minus the ceiling", above.value, -DNSMOS_BELOW, at_least=True))
        for floor in FLOORS:
            other = summaries.get(floor, {}).get(ALL)
            if other and "dnsmos" in other.measures and "dnsmos" in measures:
                difference = measures["dnsmos"].value - other.measures["dnsmos"].value
                found.append(Bar(f"DNSMOS minus {floor}'s", difference, 0.0, at_least=True))
    if took := lina.speed:
        found.append(Bar("times real time", took["times_real_time"], TIMES_REAL_TIME, at_least=True))
        if "first_audio_median" in took:
            found.append(Bar("first audio, median (s)", took["first_audio_median"], FIRST_AUDIO))
            found.append(Bar("first audio, 95 % (s)", took["first_audio_95"], FIRST_AUDIO))
    process = lina.process or {}
    if "peak_memory_mib" in process:
        found.append(Bar("memory at most (MiB)", process["peak_memory_mib"], MEMORY_MIB))
    if long := process.get("long"):
        found.append(Bar("memory of a long text (MiB)", long["peak_memory_mib"], MEMORY_MIB))
        if len(long["memory_mib"]) > 1:
            growth = long["memory_mib"][-1] / long["memory_mib"][0]
            found.append(Bar("its last minute to the first", growth, MEMORY_GROWTH))
    return found


def table(voices: Sequence[Voice]) -> str:
    summaries, lines = summarize(voices), []
    for name in sets_of(voices):
        count = max(found[name].sentences for found in summaries.values() if name in found)
        lines += [
            f"{name} ({count} texts)",
            f"  {'':<11}{'WER %':<22}{'above ceiling':<24}{'CER %':>6}  {'DNSMOS':<19}{'above ceiling':<22}"
            f"{'Distill-MOS':<19}{'above ceiling':<22}{'failed %':>8}{'duration':>10}{'x real time':>13}",
        ]
        for voice in voices:
            if name not in summaries[voice.name]:
                continue
            of = summaries[voice.name][name]
            took = speed([clip for clip in voice.clips if in_set(name, clip.id)])
            lines.append(
                f"  {voice.name:<11}{_shown(of.measures.get('word_error_rate'), 100, 1):<22}"
                f"{_shown(of.minus_ceiling.get('word_error_rate'), 100, 1, '+'):<24}"
                f"{_value(of.measures.get('character_error_rate'), 100, 1):>6}  "
                f"{_shown(of.measures.get('dnsmos'), 1, 2):<19}"
                f"{_shown(of.minus_ceiling.get('dnsmos'), 1, 2, '+'):<22}"
                f"{_shown(of.measures.get('distill_mos'), 1, 2):<19}"
                f"{_shown(of.minus_ceiling.get('distill_mos'), 1, 2, '+'):<22}"
                f"{_value(of.measures.get('failed'), 100, 1):>8}"
                f"{_value(of.measures.get('duration_ratio'), 1, 2):>10}"
                f"{'' if took is None else format(took['times_real_time'], '.1f'):>13}".rstrip()
            )
        lines.append("")
    lines.append("[95 % intervals by bootstrap over texts; differences are paired]")
    return "\n".join(lines)


def verdict(found: Sequence[Bar]) -> str:
    return "\n".join(
        f"  {bar.what:<32}{bar.value:>9.3f}  {'>=' if bar.at_least else '<='} {bar.limit:<8g}"
        f"{'holds' if bar.holds else 'DOES NOT HOLD'}"
        for bar in found
    )


def _shown(one: Any, scale: float, digits: int, sign: str = "") -> str:
    if one is None:
        return ""
    value, low, high = (f"{scale * x:{sign}.{digits}f}" for x in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def _value(one: Any, scale: float, digits: int) -> str:
    return "" if one is None else f"{scale * one.value:.{digits}f}"
