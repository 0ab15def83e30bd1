"""Ten minutes in one stream: is the last minute as intelligible, as fast and as small as the first?

    python -m benchmarks.long --run runs/first [--minutes 10] [--state carried] [--out DIR] [--json FILE]

A trained run reads sentences that it was trained on, as many as take a minute, over and over in one stream, so that all
minutes say the same: each sentence from a fresh state and, where the run was trained on consecutive utterances, with
the state carried from one to the next. For each minute it shows

    WER          word error rate of what a recognizer hears in each sentence that begins in it (a recognizer that hears
                 the recordings themselves without errors is assumed; evaluation.json of the run says if it does)
    ms a frame   the median time from one frame of audio to the next; of this process alone where it works on a CPU, so
                 that what else the machine does is left out
    MiB          resident memory when it ends

and the last minute against the first. It fails, with exit code 1, if the last minute has 3 points more word errors,
takes 1.25 times as long a frame or 1.05 times as much memory. The audio is kept in --out.
"""

import argparse
import itertools
import json
import logging
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import soundfile
import soxr
import torch

from lina.core.audio.codec import frame_rate
from lina.core.audio.wav import WavWriter
from lina.core.registry import load as load_plugin
from lina.data.token_dataset import TokenDataset
from lina.evaluation.error_rates import error_rates
from lina.evaluation.process_memory import resident_mib
from lina.speech.long_form import read
from lina.speech.voice import Voice
from lina.speech.voice_loading import load

LIMITS = {"word_error_rate": 0.03, "frame_time": 1.25, "memory": 1.05}
"""Largest difference of error rates and largest ratios, last minute to first."""


@dataclass
class Minute:
    sentences: int
    word_error_rate: float
    frame_milliseconds: float
    memory_mib: float


@dataclass
class Stream:
    """Measurements of one pass of reading."""

    name: str
    minutes: list[Minute] = field(default_factory=list)

    @property
    def change(self) -> dict[str, float]:
        first, last = self.minutes[0], self.minutes[-1]
        return {
            "word_error_rate": last.word_error_rate - first.word_error_rate,
            "frame_time": last.frame_milliseconds / first.frame_milliseconds,
            "memory": last.memory_mib / first.memory_mib,
        }

    @property
    def holds(self) -> bool:
        return all(value <= LIMITS[name] for name, value in self.change.items())


def measure(
    voice: Voice, texts: Sequence[str], minutes: int, carry: bool, out: Path, recognizer: Any
) -> Stream:
    """Read for so many minutes of audio, then listen to it."""
    name = "carried" if carry else "fresh"
    rate = frame_rate(voice.codec)
    per_minute, path = int(60 * rate), out / f"{name}.wav"
    clock = time.perf_counter if voice.model.logits_head.weight.is_cuda else time.process_time
    times: list[list[float]] = [[]]
    memory: list[float] = []
    begins: list[int] = []
    """The first frame of each sentence."""
    with WavWriter(path, voice.sample_rate, voice.codec.channels) as wav:
        before = clock()
        for frame, one in enumerate(read(voice, itertools.cycle(texts), carry=carry)):
            times[-1].append(clock() - before)
            if one.sentence == len(begins):
                begins.append(frame)
            wav.write(one.audio)
            if (frame + 1) % per_minute == 0:
                memory.append(resident_mib() or math.nan)
                print(f"{name}: minute {len(memory)} of {minutes}", file=sys.stderr)
                if len(memory) == minutes:
                    break
                times.append([])
            before = clock()
    pairs: list[list[tuple[str, str]]] = [[] for _ in range(minutes)]
    # The last sentence is cut by the end of the time: it is not judged.
    for (start, end), text in zip(itertools.pairwise(begins), itertools.cycle(texts), strict=False):
        transcript = recognizer.transcribe(
            _read_section(path, start, end, voice.codec.hop, recognizer.sample_rate)
        )
        pairs[start // per_minute].append((text, transcript))
    return Stream(
        name,
        [
            Minute(
                len(pairs_read),
                error_rates(
                    [text for text, _ in pairs_read],
                    [transcript for _, transcript in pairs_read],
                    recognizer.language,
                ).words,
                1000 * statistics.median(seconds),
                mib,
            )
            for pairs_read, seconds, mib in zip(pairs, times, memory, strict=True)
        ],
    )


def _states(options: str | None, consecutive: int) -> list[bool]:
    """Return one flag per requested stream: carry the state between sentences."""
    if options is not None:
        return [options == "carried"]
    return [False, True] if consecutive > 1 else [False]


def a_minute(dataset: TokenDataset, numbers: Sequence[int]) -> list[str]:
    """The texts of the first recordings that together take at most a minute, or of the first alone."""
    ends = dataset.lengths[list(numbers)].cumsum() * dataset.hop / dataset.sample_rate
    return [dataset.texts[number] for number, end in zip(numbers, ends, strict=True) if end <= 60] or [
        dataset.texts[numbers[0]]
    ]


def _read_section(path: Path, start: int, end: int, hop: int, sample_rate: int) -> torch.Tensor:
    audio, rate = soundfile.read(path, start=start * hop, stop=end * hop, dtype="float32", always_2d=True)
    return torch.from_numpy(soxr.resample(audio.mean(axis=1), rate, sample_rate))


def table(streams: Sequence[Stream]) -> str:
    lines = []
    for stream in streams:
        lines += [
            f"{stream.name} state",
            f"{'minute':>8} {'sentences':>9} {'WER %':>7} {'ms a frame':>10} {'MiB':>8}",
        ]
        for number, minute in enumerate(stream.minutes, start=1):
            lines.append(
                f"{number:>8} {minute.sentences:>9} {100 * minute.word_error_rate:>7.1f} "
                f"{minute.frame_milliseconds:>10.2f} {minute.memory_mib:>8.0f}"
            )
        change = stream.change
        lines.append(
            f"  last against first: {100 * change['word_error_rate']:+.1f} points of WER, "
            f"{change['frame_time']:.2f} x time, {change['memory']:.3f} x memory: "
            f"{'holds' if stream.holds else 'DOES NOT HOLD'}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="directory of a run whose model speaks")
    parser.add_argument("--minutes", type=int, default=10, help="of audio, at least 2")
    parser.add_argument(
        "--state", choices=("fresh", "carried"), help="one of them; by default all that the run offers"
    )
    parser.add_argument("--recognizer", default="faster-whisper", help="a recognizer plugin")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="folder for the audio; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    options = parser.parse_args()
    if options.minutes < 2:
        parser.error("--minutes must be at least 2: the last is compared with the first")
    logging.basicConfig(format="%(message)s")
    voice = load(options.run, options.device)
    spec = voice.resolved.spec
    dataset = TokenDataset(options.run / "data", verify=False)
    texts = a_minute(dataset, dataset.split(spec.data.valid, spec.seed).train.tolist())
    plugin = load_plugin("recognizer", options.recognizer)
    recognizer = plugin.build(config=plugin.Config())
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        streams = [
            measure(voice, texts, options.minutes, carry, out, recognizer)
            for carry in _states(options.state, spec.train.consecutive)
        ]
    print(table(streams))
    if options.json:
        record = {
            "run": spec.name,
            "consecutive": spec.train.consecutive,
            "device": str(voice.model.logits_head.weight.device),
            "torch": torch.__version__,
            "limits": LIMITS,
            "streams": [
                asdict(stream) | {"change": stream.change, "holds": stream.holds} for stream in streams
            ],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0 if all(stream.holds for stream in streams) else 1


if __name__ == "__main__":
    sys.exit(main())
