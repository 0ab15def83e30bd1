"""Synthesis in a process of its own, which loads the modules of ``lina say`` only, so that its memory can be measured.

``voices.py`` starts it, once for the texts and once for a long one; see there.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.voices_rows import CLIP_FILE, has_clip
from lina.cli.say_file import read_file
from lina.config.loader import load_spec
from lina.config.run_files import SPEC_FILE
from lina.core.audio.wav import WavWriter
from lina.core.errors import LinaError
from lina.core.files.atomic import write_atomic
from lina.evaluation.process_memory import peak_mib, resident_mib
from lina.evaluation.records import MODEL, ClipFile
from lina.evaluation.systems import ClipWriter
from lina.evaluation.text_set import Item
from lina.runs.checkpoint_store import checkpoint_folder, newest_checkpoint
from lina.runs.stage_cache import finish, invalidate, is_up_to_date
from lina.speech.voice import Voice
from lina.speech.voice_loading import load

PROCESS, LONG = Path("process.json"), Path("long.json")
SPEAKER = "hibari-heart"
"""Default speaker of runs with speakers."""


def speak(
    run: Path, folder: Path, items: Sequence[Item], settings: Sequence[str], speaker: str | None
) -> None:
    """Synthesize the missing texts; all of them if weights, settings or the number of threads have changed."""
    causes = _causes(run, settings, speaker)
    if not is_up_to_date(folder, "speak", causes):
        shutil.rmtree(folder / "clips", ignore_errors=True)
        for file in (CLIP_FILE, PROCESS, LONG):
            (folder / file).unlink(missing_ok=True)
        invalidate(folder, "long")
        finish(folder, "speak", causes)
    stored_clips = ClipFile(folder / CLIP_FILE)
    left = [item for item in items if not has_clip(stored_clips, item, MODEL, folder)]
    if not left:
        return
    busy = busy_cores()
    voice = _voice(run, settings)
    seed = voice.resolved.spec.synthesize.seed
    writer = ClipWriter(voice, folder, seed, _speaker(voice, speaker), alone=False)
    writer.warm_up(left[0])
    for number, item in enumerate(left, start=1):
        stored_clips.append(writer.write(item, MODEL))
        if number % 25 == 0:
            print(f"lina: {number} of {len(left)} texts", file=sys.stderr)
    facts = {
        "busy_before": busy,
        "parameters": voice.parameters,
        "speaker": _speaker(voice, speaker),
        "threads": torch.get_num_threads(),
        "memory_mib": resident_mib() or math.nan,
        "peak_memory_mib": peak_mib() or math.nan,
    }
    write_atomic(folder / PROCESS, json.dumps(facts, indent=1).encode())


def read_long(
    run: Path,
    folder: Path,
    items: Sequence[Item],
    settings: Sequence[str],
    speaker: str | None,
    minutes: float,
) -> None:
    """As ``lina say --file`` reads all texts one after the other, until so many minutes have been said."""
    causes = [*_causes(run, settings, speaker), [item.text for item in items], minutes]
    if is_up_to_date(folder, "long", causes):
        return
    busy = busy_cores()
    voice = _voice(run, [*settings, "best_of=1"])
    carry = voice.resolved.spec.train.consecutive > 1
    text, audio = folder / "long.txt", folder / "long.wav"
    # Twice: a voice in a hurry must not run out of text.
    text.write_text("\n\n".join(item.text for item in [*items, *items]))
    memory: list[float] = []
    times, rate = [[0.0]], voice.sample_rate
    with WavWriter(audio, rate, voice.codec.channels) as wav:
        before = time.perf_counter()
        for chunk in read_file(voice, text, carry=carry, speaker=_speaker(voice, speaker)):
            times[-1].append(time.perf_counter() - before)
            wav.write(chunk)
            if wav.seconds >= 60 * (len(memory) + 1):
                memory.append(resident_mib() or math.nan)
                times.append([])
                if len(memory) >= minutes:
                    break
            before = time.perf_counter()
        seconds = wav.seconds
    facts = {
        "busy_before": busy,
        "carry": carry,
        "seconds": seconds,
        "times_real_time": seconds / sum(map(sum, times)),
        "memory_mib": memory,
        "frame_milliseconds": [1000 * statistics.median(one) for one in times if one],
        "peak_memory_mib": peak_mib() or math.nan,
    }
    write_atomic(folder / LONG, json.dumps(facts, indent=1).encode())
    finish(folder, "long", causes)


def busy_cores(seconds: float = 1.0) -> float | None:
    """Return the number of cores busy with other processes, which would distort a measured speed."""
    try:
        before = _processor_ticks()
        time.sleep(seconds)
        after = _processor_ticks()
    except OSError:
        return None
    return (after - before) / os.sysconf("SC_CLK_TCK") / seconds


def _processor_ticks() -> int:
    """Of all cores since the start of the machine: user, nice, system, of which this process has next to nothing."""
    return sum(map(int, Path("/proc/stat").read_text().split()[1:4]))


def _voice(run: Path, settings: Sequence[str]) -> Voice:
    return load(run, "cpu", _with_section(settings))


def _with_section(settings: Sequence[str]) -> list[str]:
    return [f"synthesize.{one}" for one in settings]


def _speaker(voice: Voice, options: str | None) -> str | None:
    if options is not None:
        return options
    known = voice.model.speaker_embed is not None and SPEAKER in voice.speakers
    return SPEAKER if known else None


def _causes(run: Path, settings: Sequence[str], speaker: str | None) -> list[Any]:
    checkpoint = newest_checkpoint(checkpoint_folder(run))
    section = load_spec(run / SPEC_FILE, _with_section(settings)).synthesize
    sampling = section.model_dump(mode="json", exclude={"texts"})
    return [checkpoint and checkpoint.weights, sampling, speaker, torch.get_num_threads()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--items", type=Path, required=True, help="JSON: [id, text, speaker or null] each")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--speaker")
    parser.add_argument("--long", type=float, default=0.0, metavar="MINUTES")
    options = parser.parse_args()
    items = [
        Item(id, text, speaker=speaker) for id, text, speaker in json.loads(options.items.read_text("utf-8"))
    ]
    try:
        if options.long:
            read_long(options.run, options.folder, items, options.set, options.speaker, options.long)
        else:
            speak(options.run, options.folder, items, options.set, options.speaker)
    except LinaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
