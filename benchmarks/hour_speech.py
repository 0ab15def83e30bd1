"""An hour of speech as one stream: are its last ten minutes understood as well as the first?

    python -m benchmarks.hour_speech speak hour     the first and last ten minutes, and the time each minute took
    python -m benchmarks.hour_speech judge hour     what Whisper tiny.en hears in them

``speak`` runs where the voice is fast, as on a GPU; ``judge`` where there is a recognizer. Sentences are those of
``benchmarks/texts``, again and again, each with its own random numbers; the model's state is carried on from sentence
to sentence, so that it never starts anew.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import soxr
import torch

import lina
from lina.speech.default_voice import shipped_voice
from lina.speech.long_form import read

MINUTES, PART = 60, 10
"""Of all, and of the beginning and the end that stay."""
RATE = 16_000
"""Hz: as the recognizer listens."""
PARTS = ("first", "last")
SETS = ("everyday", "long")


class Sentence(NamedTuple):
    text: str
    start: int
    """Samples of the voice's rate from the beginning."""
    end: int


def speak(folder: Path, minutes: float, part: float, device: str) -> dict[str, Any]:
    """Write both parts, and return the seconds of computation per minute of speech and the memory."""
    from benchmarks.voices_sets import text_sets

    voice: Any = lina.load(shipped_voice(), device=device)  # type: ignore[arg-type]
    plain = voice.voice
    rate, sets = voice.sample_rate, text_sets()
    texts = [item.text for name in SETS for item in sets[name]]
    plain.say(texts[0])
    total, part_samples = int(minutes * 60 * rate), int(part * 60 * rate)
    audio, samples, starts = np.zeros(total, np.float32), 0, [0]
    began = time.perf_counter()
    per_minute: list[tuple[float, int]] = []
    for chunk in read(plain, itertools.cycle(texts), carry=True):
        if chunk.sentence >= len(starts):
            starts += [samples] * (chunk.sentence + 1 - len(starts))
        piece = chunk.audio[0].numpy()[: total - samples]
        audio[samples : samples + len(piece)] = piece
        samples += len(piece)
        if samples >= (len(per_minute) + 1) * 60 * rate:
            per_minute.append((time.perf_counter() - began, _memory()))
        if samples >= total:
            break
    sentences = [
        Sentence(text, start, end)
        for text, (start, end) in zip(itertools.cycle(texts), itertools.pairwise(starts), strict=False)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "device": device,
        "sample_rate": rate,
        "seconds": [round(seconds, 2) for seconds, _ in per_minute],
        "bytes": [memory for _, memory in per_minute],
    }
    for name, first in zip(PARTS, (0, total - part_samples), strict=True):
        own = audio[first : first + part_samples]
        soundfile.write(folder / f"{name}.flac", soxr.resample(own, rate, RATE), RATE)
        found[name] = [
            [one.text, (one.start - first) / rate, (one.end - first) / rate]
            for one in sentences
            if first <= one.start and one.end <= first + part_samples
        ]
    (folder / "hour.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def judge(folder: Path) -> dict[str, Any]:
    """Word error rates of both parts in percent, with intervals of 95 %."""
    from benchmarks.cpu_quality import recognizer
    from lina.evaluation.error_rates import count_errors

    found, listener, rates = json.loads((folder / "hour.json").read_text("utf-8")), recognizer(), {}
    for name in PARTS:
        audio, rate = soundfile.read(folder / f"{name}.flac", dtype="float32")
        wrong, words = [], []
        for text, start, end in found[name]:
            clip = torch.from_numpy(audio[int(start * rate) : int(end * rate)])
            errors = count_errors(text, listener.transcribe(clip), listener.language)
            wrong.append(errors.wrong_words)
            words.append(errors.words)
        rates[name] = {"sentences": len(words), "words": sum(words)} | _percent(wrong, words)
    seconds = np.diff([0.0, *found["seconds"]])
    tenth = max(1, len(seconds) // 6)
    early, late = float(np.mean(seconds[:tenth])), float(np.mean(seconds[-tenth:]))
    times = {"first": round(60 / early, 1), "last": round(60 / late, 1)}
    return {
        "word_error_rate": rates,
        "times_real_time": times,
        "bytes": found["bytes"][:: len(found["bytes"]) - 1],
    }


def _percent(wrong: Sequence[int], words: Sequence[int]) -> dict[str, float]:
    from lina.evaluation.bootstrap import interval

    rate = interval(100 * np.array(wrong, np.float64), np.array(words, np.float64))
    assert rate is not None
    return {"rate": round(rate.value, 2), "low": round(rate.low, 2), "high": round(rate.high, 2)}


def _memory() -> int:
    return torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("speak", "judge"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--part", type=float, default=PART, help="minutes of the beginning and of the end")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    if options.action == "speak":
        found = speak(options.folder, options.minutes, options.part, options.device)
        print(json.dumps({key: found[key] for key in ("seconds", "bytes")}))
        return 0
    result = judge(options.folder)
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
