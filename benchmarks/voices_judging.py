"""Scores of clips, computed in several single-threaded processes and stored beside the audio."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.voices_rows import CLIP_FILE
from lina.core.errors import PluginError
from lina.core.process.workers import work
from lina.core.registry import load
from lina.evaluation.metrics import AUDIO_METRICS, Scorer, dnsmos, load_audio_metrics, with_errors
from lina.evaluation.records import ClipFile, ClipRecord

FIRST, SECOND = "judged", "heard-again"
"""Files: by tiny.en and the metrics of audio; by base, for failures."""
DNSMOS_EVERY = 4
"""Seconds from window to window, a fourth of the work: against every second, 36 clips of six voices change by 0.016
each, up or down, and their mean by 0.001."""
FOUND = ("transcript", *AUDIO_METRICS)


@dataclass(frozen=True)
class Panel:
    """Selection of metrics, sent to other processes, which load the networks."""

    metrics: tuple[str, ...]
    """Keys of ``AUDIO_METRICS``."""
    second: bool
    base: Path | None
    """A folder with Whisper base; None takes the one in packages."""

    def open(self) -> dict[str, Scorer]:
        plugin = load("recognizer", "faster-whisper")
        tiny = plugin.build(config=plugin.Config.model_validate({"threads": 1}))
        loaders = {name: info.load for name, info in AUDIO_METRICS.items()}
        loaders["dnsmos"] = partial(dnsmos, DNSMOS_EVERY)
        judges = {FIRST: Scorer(tiny, {name: loaders[name]() for name in self.metrics})}
        if self.second:
            chosen = {"weights": self.base} if self.base else {"model": "base"}
            config = plugin.Config.model_validate({"threads": 1, **chosen})
            judges[SECOND] = Scorer(plugin.build(config=config), {})
        return judges


def panel(base: Path | None, quick: bool, remarks: list[str]) -> Panel:
    """Select the available metrics; ``quick`` leaves out Whisper base.

    Raises:
        PluginError: There is no recognizer.
    """
    metrics = tuple(load_audio_metrics(remarks))
    Panel((), False, None).open()
    if quick:
        remarks.append("failed texts are left out: --quick")
        return Panel(metrics, False, None)
    try:
        Panel((), True, base).open()
    except PluginError as error:
        if base is not None:
            raise
        remarks.append(f"failed texts are left out: {error}; or --whisper-base DIR")
        return Panel(metrics, False, None)
    return Panel(metrics, True, base)


def judge(panel: Panel, clips_by_folder: Mapping[Path, Sequence[ClipRecord]]) -> None:
    """Score the clips of each folder that have no scores yet."""
    files = {
        (folder, kind): ClipFile(folder / f"{kind}.jsonl")
        for folder in clips_by_folder
        for kind in (FIRST, *([SECOND] if panel.second else []))
    }
    jobs = [
        (folder, kind, clip)
        for (folder, kind), file in files.items()
        for clip in clips_by_folder[folder]
        if not is_scored(file, clip, panel.metrics if kind == FIRST else ())
    ]
    if not jobs:
        return
    # The longest first, so that no process has much left when the others are done; and failures at last.
    jobs.sort(key=lambda job: (job[1] == SECOND, -job[2].seconds))
    with closing(work(jobs, _judge, panel.open, _cores(), lambda job: job[2].key)) as judged_clips:
        for number, (folder, kind, clip) in enumerate(judged_clips, start=1):
            files[folder, kind].append(clip)
            if number % 100 == 0:
                print(f"judged {number} of {len(jobs)}", file=sys.stderr)


def scored_clips(folder: Path, kind: str, clips: Iterable[ClipRecord]) -> list[ClipRecord]:
    """Return the scored clips with the errors of their transcripts; clips without scores are left out."""
    file = ClipFile(folder / f"{kind}.jsonl")
    return [with_errors(file.records[clip.key]) for clip in clips if is_scored(file, clip)]


def is_scored(file: ClipFile, clip: ClipRecord, metrics: Iterable[str] = ()) -> bool:
    """Return whether this very clip (not an earlier synthesis) has scores, by all of ``metrics``."""
    found = file.records.get(clip.key)
    if found is None or found.model_copy(update=dict.fromkeys(FOUND)) != clip:
        return False
    return all(getattr(found, name) is not None for name in metrics)


def forget_row(folder: Path) -> None:
    """Delete the clips and scores of a row."""
    for name in (CLIP_FILE, f"{FIRST}.jsonl", f"{SECOND}.jsonl", "stages.json"):
        (folder / name).unlink(missing_ok=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _judge(judges: Mapping[str, Scorer], job: tuple[Path, str, ClipRecord]) -> tuple[Path, str, ClipRecord]:
    folder, kind, clip = job
    return folder, kind, judges[kind].score(folder, clip)
