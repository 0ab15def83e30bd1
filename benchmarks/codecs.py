"""All codecs on the same recordings: how good, how small, how fast. One table, and JSON for machines.

    python -m benchmarks.codecs --audio data/asterisk-sample --json codecs.json
    python -m benchmarks.codecs --audio known --audio unknown --lyra DIR --json codecs.json --jobs 2
    python -m benchmarks.codecs --audio known --weights runs/codec/codec.safetensors --quick 10
    python -m benchmarks.codecs --codec "lina codebooks=4" --stress

Each --audio is a folder with a manifest.jsonl, as lina's corpus plugin jsonl reads it; a line may name its
``language`` (``en`` by default). Recordings over 15 s or under 0.4 s are left out. All are brought to 24 kHz, one
channel and -23 dB; each codec gets them at its own rate, and everything is judged at 16 kHz: PESQ wide band, STOI,
ViSQOL for speech, DNSMOS P.835 overall, Distill-MOS, WER by Whisper tiny.en (other languages: by Whisper base, or the
model that --multilingual names), and distance of mel spectra. The delay of a codec whose audio comes late is reported,
and removed before judging. 95 % intervals are bootstrapped over recordings, differences are paired. Measures whose
packages are missing stay empty, with a line that says what to install (pip install 'lina[bench]'; Distill-MOS and
Whisper base by themselves).

Codecs are plugins with their configuration: --codec "codec2 mode=1300", as often as wanted. By default lina's own
with 2, 4, 6 and 8 codebooks and three modes of Codec2; with --lyra also Lyra V2, by its own quantizer and by refitted
codebooks if the folder has them. EnCodec's rows are published figures, unless it is measured
(--codec "encodec weights=FILE ...").

--json FILE adds to what is there: rows of the same recordings and weights are not measured again.
--quick N takes N recordings of each set, and PESQ, STOI and mel distance only.
--stress sends silence, clipping, DC, tones, noise and impulses through the codecs instead; exit code 1 if what comes
out is not finite, or is louder by more than 6 dB.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codec_audio import AudioSet, Recording, read_set, source_audio
from benchmarks.codec_measure import Listeners, Plan, Result, delay, errors, measure_all
from benchmarks.codec_metrics import judges
from benchmarks.codec_results import Setting, about, as_text, earlier, in_order, made_with, short
from benchmarks.codec_speed import latency, speed
from benchmarks.codec_statistics import summary, usage
from benchmarks.codec_stress import stress
from benchmarks.codec_stress import table as stress_table
from benchmarks.codec_subjects import ORIGINAL, PUBLISHED, Choice, Subject
from benchmarks.codec_table import tables
from lina.core.audio.codec import frame_rate
from lina.core.errors import LinaError, did_you_mean
from lina.core.files.atomic import write_atomic

AGAINST = "lyra + refit 4 x 1024"


def main() -> int:
    options = arguments()
    choice = Choice(tuple(options.codec), options.weights, options.lyra)
    try:
        if options.stress:
            return stress_all(choice)
        if not options.audio:
            raise LinaError("no --audio: name a folder with a manifest.jsonl")
        results = benchmark(options, choice)
    except LinaError as error:
        print(f"codecs: error: {error}", file=sys.stderr)
        return 2
    print(tables(results))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, or add to them")
    parser.add_argument("--codec", action="append", default=[], metavar="'PLUGIN KEY=VALUE ...'")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of the codecs named lina")
    parser.add_argument("--lyra", type=Path, metavar="DIR", help="a folder with Lyra's three .tflite files")
    parser.add_argument(
        "--multilingual",
        type=Path,
        metavar="DIR",
        help="a CTranslate2 Whisper for languages but en (default: Whisper base, if its packages are installed)",
    )
    parser.add_argument(
        "--against", metavar="NAME", help=f"a codec to tell differences to (default: {AGAINST})"
    )
    parser.add_argument(
        "--recordings", type=int, metavar="N", help="of each set, spread evenly (default: all)"
    )
    parser.add_argument(
        "--rated",
        type=int,
        default=30,
        metavar="N",
        help="recordings of each set that DNSMOS and Distill-MOS rate (default 30)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument(
        "--speed", action="store_true", help="measure known codecs' speed again (on an idle machine)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", type=int, metavar="N")
    mode.add_argument("--stress", action="store_true")
    options = parser.parse_args()
    for name in ("recordings", "quick", "rated", "jobs"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name} {value}: must be at least 1")
    return options


def stress_all(choice: Choice) -> int:
    subjects, complaints = choice.subjects()
    _tell(complaints)
    broken = 0
    for subject in subjects:
        if subject.codec is not None:
            outcomes = list(stress(subject.codec))
            broken += sum(not one.holds for one in outcomes)
            print(stress_table(subject.name, outcomes))
    return 1 if broken else 0


def benchmark(options: argparse.Namespace, choice: Choice) -> dict[str, Any]:
    """Measure what is asked and not known yet; what is known is written after each codec.

    Raises:
        LinaError: a folder, a codec, a name, or the file to add to is wrong.
    """
    sets = [read_set(folder, options.quick or options.recordings, options.rated) for folder in options.audio]
    if len({one.name for one in sets}) < len(sets):
        raise LinaError("two --audio folders have one name; rows are told apart by it, so rename one")
    subjects, complaints = choice.subjects()
    setting, more = _setting(options, sets)
    _tell([*complaints, *more])
    results = earlier(options.json, sets, setting)
    for one in sets:
        results["sets"][one.name] = about(one, setting)
    for subject in subjects:
        row = results["codecs"].get(subject.name)
        if row is None or row["fingerprint"] != subject.fingerprint:
            row = results["codecs"][subject.name] = _facts(subject, sets[0])
        if subject.codec is not None and options.quick is None and (options.speed or "speed" not in row):
            clip = np.concatenate([source_audio(one) for one in sets[0].recordings[:5]])
            row["speed"] = speed(subject.codec, clip)
            print(f"{subject.name}: speed measured", file=sys.stderr, flush=True)
    if options.against is not None and options.against not in results["codecs"]:
        known = did_you_mean(options.against, results["codecs"])
        raise LinaError(f"--against {options.against!r} is not measured{known}")
    for one in sets:
        for name in (subject.name for subject in subjects):
            row = results["codecs"][name]
            known = row["sets"].get(one.name)
            if known is not None and ("transcripts" in known or "errors" not in setting.columns):
                recount(known, one.recordings)
                continue
            plan = Plan(
                choice=choice,
                only=name,
                # What was measured without keeping transcripts lacks these alone.
                columns=setting.columns if known is None else ("errors",),
                delay=row.get("delay", 0.0),
                quick=options.quick is not None,
                multilingual=options.multilingual,
                recognize="errors" in setting.columns,
            )
            found = _measured(measure_all(plan, one.recordings, options.jobs, _progress(one, name)))
            if known is not None:
                found["recordings"] = known["recordings"] | found["recordings"]
            row["sets"][one.name] = found
            if options.json is not None:
                write_atomic(options.json, as_text(results).encode())
    _finish(results, options.against)
    if options.json is not None:
        write_atomic(options.json, as_text(results).encode())
    return results


def _setting(options: argparse.Namespace, sets: Sequence[AudioSet]) -> tuple[Setting, list[str]]:
    measures, complaints = judges(options.quick is not None)
    listeners = Listeners(options.multilingual, enabled=options.quick is None)
    languages = {recording.language for one in sets for recording in one.recordings}
    if complaint := listeners.complaint(languages):
        complaints.append(complaint)
    columns = (*measures, *(("errors",) if listeners.enabled else ()))
    unheard = [one for one in languages if listeners.of(one) is None]
    return Setting(columns, tuple(sorted(unheard))), complaints


def _facts(subject: Subject, first: AudioSet) -> dict[str, Any]:
    facts: dict[str, Any] = {"fingerprint": subject.fingerprint, "weights_bytes": subject.weights_bytes}
    if (codec := subject.codec) is not None:
        rate = frame_rate(codec)
        facts |= {
            "bits_per_second": rate * sum(log2(size) for size in codec.codebook_sizes),
            "sample_rate": codec.sample_rate,
            "frame_rate": rate,
            "codebook_sizes": list(codec.codebook_sizes),
            "latency": latency(codec),
            "delay": delay(codec, first.recordings[:20]),
        }
    return facts | {"sets": {}}


def _measured(results: Sequence[Result]) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "recordings": {name: [short(result.values[name]) for result in results] for name in results[0].values}
    }
    if any(result.transcript is not None for result in results):
        measured["transcripts"] = [result.transcript for result in results]
    if results[0].counts:
        measured["codebooks"] = usage(
            [sum(books) for books in zip(*(one.counts for one in results), strict=True)]
        )
    return measured


def recount(measured: dict[str, Any], recordings: Sequence[Recording]) -> None:
    """Count the errors of stored transcripts by today's normalization."""
    if transcripts := measured.get("transcripts"):
        pairs = zip(recordings, transcripts, strict=True)
        measured["recordings"]["errors"] = [errors(recording, transcript) for recording, transcript in pairs]


def _finish(results: dict[str, Any], against: str | None) -> None:
    """Summaries of all rows, and what they were made with."""
    codecs = results["codecs"]
    results["against"] = against or (AGAINST if AGAINST in codecs else None)
    for row in codecs.values():
        for name, measured in row["sets"].items():
            original = codecs[ORIGINAL]["sets"][name]["recordings"]
            other = codecs[results["against"]]["sets"].get(name) if results["against"] else None
            measured["summary"] = summary(
                measured["recordings"],
                original,
                other and other["recordings"],
                results["sets"][name]["words"],
                results["sets"][name]["languages"],
            )
    results["codecs"] = in_order(codecs)
    results["published"] = {} if any(name.startswith("encodec") for name in codecs) else PUBLISHED
    results |= made_with()


def _progress(one: AudioSet, name: str) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if done % 20 == 0 or done == len(one.recordings):
            print(f"{name}: {one.name}, {done} of {len(one.recordings)}", file=sys.stderr, flush=True)

    return tell


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"codecs: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
