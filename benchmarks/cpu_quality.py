"""Quality of the voice in 8 bits beside float32, on the same texts: what a recognizer hears, DNSMOS and Distill-MOS."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lina
from benchmarks.voices_sets import text_sets
from lina.core.audio.wav import write_wav
from lina.core.registry import load
from lina.engine.backend_names import BackendName
from lina.evaluation.bootstrap import interval
from lina.evaluation.metrics import Scorer, load_audio_metrics, with_errors
from lina.evaluation.records import MODEL, ClipFile, ClipRecord
from lina.evaluation.text_set import Item
from lina.runs.records import Interval

BACKENDS: tuple[BackendName, ...] = ("onnx", "onnx-int8")
SETS = ("everyday", "long")
"""Of ``benchmarks/texts``; half of the texts each."""


def quality_rows(count: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Both, and their paired differences, with intervals of 95 %."""
    sets = text_sets(count // len(SETS))
    items = [item for name in SETS for item in sets[name]]
    remarks: list[str] = []
    scorer = Scorer(recognizer(), load_audio_metrics(remarks))
    values = {}
    for backend in BACKENDS:
        own = folder / backend
        own.mkdir(parents=True, exist_ok=True)
        values[backend] = measures(list(judge_clips(backend, items, own, scorer)))
        yield row(backend, values[backend], len(items))
    first, second = (values[backend] for backend in BACKENDS)
    differences = {name: (second[name][0] - first[name][0], first[name][1]) for name in first}
    yield row("onnx-int8 minus onnx", differences, len(items))
    for remark in remarks:
        print(remark)


def recognizer() -> Any:
    """Whisper tiny.en, on one thread."""
    plugin = load("recognizer", "faster-whisper")
    return plugin.build(config=plugin.Config.model_validate({"threads": 1}))


def judge_clips(
    backend: BackendName, items: Sequence[Item], folder: Path, scorer: Scorer
) -> Iterator[ClipRecord]:
    """The clips of a backend, each text with a seed of its own; those that ``folder`` has are not made again."""
    voice, file = lina.load(device="cpu", backend=backend), ClipFile(folder / "clips.jsonl")
    for seed, item in enumerate(items):
        if (item.id, MODEL) not in file.records:
            path = Path(f"{item.id}.wav")
            audio = voice.say(item.text, seed=seed)
            write_wav(folder / path, audio, voice.sample_rate)
            seconds = audio.shape[1] / voice.sample_rate
            clip = ClipRecord(id=item.id, system=MODEL, text=item.text, audio=path, seconds=seconds)
            file.append(scorer.score(folder, clip))
        yield with_errors(file.records[item.id, MODEL])


def measures(clips: Sequence[ClipRecord]) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Values and weights of each clip by measure; the error rate in percent of the words."""

    def of(name: str) -> NDArray[np.float64]:
        found = [getattr(clip, name) for clip in clips]
        return np.array([np.nan if one is None else one for one in found], dtype=np.float64)

    one = np.ones(len(clips))
    return {
        "wer": (100 * of("wrong_words"), of("words")),
        "dnsmos": (of("dnsmos"), one),
        "distill_mos": (of("distill_mos"), one),
        "seconds": (of("seconds"), one),
    }


def row(
    name: str, values: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], texts: int
) -> dict[str, Any]:
    """A row of the table: each measure with the limits of its interval."""
    found: dict[str, Any] = {"part": "quality", "name": name, "texts": texts}
    for measure, (own, weights) in values.items():
        one: Interval | None = interval(own, weights)
        if one is not None:
            found |= {measure: one.value, f"{measure}_low": one.low, f"{measure}_high": one.high}
    return found
