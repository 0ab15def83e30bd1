"""Synthesis of a corpus by hibari-tts in several processes.

The output depends on the sentences only: name and noise of a recording come from a hash of its text, and the manifest
has the order of the sentences for any number of processes. Existing recordings are kept, so that an interrupted
synthesis is resumed.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from lina.core.errors import PluginError
from lina.core.process.workers import work

SPEAKER, SAMPLE_RATE = "hibari-heart", 24_000
MANIFEST = "manifest.jsonl"


def synthesize(
    sentences: Iterable[str], folder: Path, *, processes: int | None = None, minutes: float = float("inf")
) -> float:
    """Write FLAC at 24 kHz and ``manifest.jsonl`` into ``folder``; return the minutes of speech in the manifest.

    A sentence without phonemes for hibari stays in the manifest without a recording, so that reading rejects it.

    Args:
        sentences: One utterance each; duplicates are dropped.
        processes: Of one thread each; by default one per core available to this process.
        minutes: Stop after the sentence that reaches this total.

    Raises:
        PluginError: hibari-tts is not installed.
        LinaError: A worker process was killed or crashed.
    """
    _hibari()
    folder.mkdir(parents=True, exist_ok=True)
    texts = list(dict.fromkeys(sentences))
    count = processes or len(os.sched_getaffinity(0))
    seconds, rows = 0.0, []
    with closing(work(texts, _synthesize_one, functools.partial(Path, folder), count)) as durations:
        for text, duration in zip(texts, durations, strict=True):
            name = _name(text)
            row = {"id": name, "audio": f"{name}.flac", "text": text, "speaker": SPEAKER}
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
            seconds += duration
            if seconds >= 60 * minutes:
                break
    partial = folder / f".{MANIFEST}.partial"
    partial.write_text("".join(rows), encoding="utf-8")
    partial.replace(folder / MANIFEST)
    return seconds / 60


def read_aloud(text: str) -> Any:
    """Synthesize samples in [-1, 1], deterministically; none if hibari finds no phonemes in the text.

    Raises:
        PluginError: hibari-tts is not installed.
    """
    import numpy as np

    speech = np.asarray(_voice()(text, seed=int(_name(text), 16)), np.float32)
    return speech / max(1.0, float(np.abs(speech).max(initial=0.0)))


def _synthesize_one(folder: Path, text: str) -> float:
    """Write one recording unless it exists; return its seconds."""
    import soundfile

    path = folder / f"{_name(text)}.flac"
    if not path.exists():
        speech = read_aloud(text)
        if not len(speech):
            return 0.0
        partial = path.with_suffix(".partial")
        soundfile.write(partial, speech, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        partial.replace(path)
    return float(soundfile.info(path).duration)


@functools.cache
def _voice() -> Any:
    """Load one voice per process."""
    return _hibari().Hibari(threads=1)


def _hibari() -> Any:
    try:
        import hibari
    except ImportError as error:
        raise PluginError(f"synthesis needs hibari-tts ({error}); pip install hibari-tts") from error
    return hibari


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
