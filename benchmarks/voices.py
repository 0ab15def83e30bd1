"""Evaluation of lina's voice beside its teacher and other speech programs.

    python -m benchmarks.voices --run runs/voice --whisper-base DIR --out voices [--json FILE]
    python -m benchmarks.voices --rows hibari,codec,espeak-ng --limit 10 --out voices

Over ``benchmarks/texts`` (100 everyday sentences, 100 long ones, 50 hard ones; in no training text) for each voice:

    WER, CER       what Whisper tiny.en hears, in Whisper's spelling of English on both sides; and above the ceiling,
                   the row ``codec``: lina's codec after hibari's reading (after the real recording with --real)
    DNSMOS         P.835, overall; and above the ceiling
    Distill-MOS    quality, sensitive to artifacts of codecs; and above the ceiling
    failed         texts that Whisper base hears with more than 30 % wrong characters, or whose duration is beyond
                   0.6 to 1.6 times the reference's; they are listed with what was heard
    x real time    of this machine's cores, the start of a program included where it is started for each text

The run speaks in a process of its own that loads no judge: so its memory and the time to its first audio are told, and
the memory over a text of ten minutes. Its bars are shown, and one that does not hold makes the exit code 1.

--json FILE writes the numbers there and the clips with their transcripts beside them; --recount FILE counts their
errors again, after a change of the normalization, without any audio. --keep-speed leaves times and memory as FILE has
them, for a machine that is busy. --development takes the texts of ``benchmarks/texts/development``, for choosing
settings by; the test's are for what was chosen.

Audio and judgements are kept in --out, so that a second call does what is missing; --again ROW does a row anew (needed
after a change of code; other weights or settings are noticed). A row that cannot be had here is left out and said.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.voices_clips import TIMES, clips_file, read_clips, write_clips
from benchmarks.voices_judging import FIRST, SECOND, forget_row, judge, panel, scored_clips
from benchmarks.voices_process import LONG, PROCESS
from benchmarks.voices_rows import CLIP_FILE, CODEC, HIBARI, LINA, RECORDINGS, has_clip, read_row, rows
from benchmarks.voices_sets import real_set, text_sets
from benchmarks.voices_table import Voice, bars, failures, references, summarize, table, verdict
from lina.core.errors import DataError, LinaError, did_you_mean
from lina.core.files.atomic import write_atomic
from lina.evaluation.normalization import identity
from lina.evaluation.records import MODEL, ClipFile, ClipRecord
from lina.evaluation.text_set import Item
from lina.speech.default_voice import shipped_voice

NAMES = (LINA, *rows())
MOST_BUSY = 0.2
"""Cores that other processes may use while lina's speed is measured."""
OTHER_NAMES = {"espeak": "espeak-ng"}


def measure(options: argparse.Namespace) -> tuple[list[Voice], list[str]]:
    """All rows that were asked for and can be had, and a line for each thing that cannot."""
    remarks: list[str] = []
    sets = list(text_sets(options.limit, options.development).values())
    test = [item for items in sets for item in items]
    items = [*test, *(real_set(options.real, options.limit) if options.real else [])]
    listeners = panel(options.whisper_base, options.quick, remarks)
    clips_by_row: dict[str, tuple[Path, list[ClipRecord]]] = {}
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.rows:
        folder = lina_folder(options) if name == LINA else options.out / name
        if name in options.again:
            forget_row(folder)
        clips = (
            _lina(options, folder, items, test)
            if name == LINA
            else read_row(name, items, options.out, remarks)
        )
        if clips:
            clips_by_row[name] = folder, clips
            print(f"{name}: {sum(clip.seconds for clip in clips) / 60:.1f} minutes", file=sys.stderr)
    judge(listeners, dict(clips_by_row.values()))
    return [
        Voice(
            name,
            scored_clips(folder, FIRST, clips),
            scored_clips(folder, SECOND, clips) if listeners.second else (),
            _process(folder) if name == LINA else None,
        )
        for name, (folder, clips) in clips_by_row.items()
    ], remarks


def lina_folder(options: argparse.Namespace) -> Path:
    """Of each run its own, so that judging one does not cost another's row."""
    return Path(options.out / f"{LINA}-{options.name or options.run.resolve().name}")


def _lina(
    options: argparse.Namespace, folder: Path, items: Sequence[Item], test: Sequence[Item]
) -> list[ClipRecord]:
    folder.mkdir(parents=True, exist_ok=True)
    _start(options, folder, items)
    if options.minutes:
        _start(options, folder, test, "--long", str(options.minutes))
    stored_clips = ClipFile(folder / CLIP_FILE)
    return [
        stored_clips.records[item.id, MODEL] for item in items if has_clip(stored_clips, item, MODEL, folder)
    ]


def _start(options: argparse.Namespace, folder: Path, items: Sequence[Item], *more: str) -> None:
    """A process with as many threads as ``lina say`` would take, which wait as its threads do."""
    texts = folder / "items.json"
    texts.write_text(json.dumps([[one.id, one.text, one.speaker] for one in items]), encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.voices_process", "--run", str(options.run)]
    command += ["--folder", str(folder), "--items", str(texts), *more]
    command += [part for one in options.set for part in ("--set", one)]
    command += ["--speaker", options.speaker] if options.speaker else []
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    threads = {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    if subprocess.run(command, env={"GOMP_SPINCOUNT": "2000"} | kept | threads).returncode:
        raise LinaError(f"{options.run}: did not speak all texts; see above")


def _process(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / PROCESS).read_text()) if (folder / PROCESS).is_file() else {}
    if (folder / LONG).is_file():
        found["long"] = json.loads((folder / LONG).read_text())
    return dict(found)


def busy(voices: Sequence[Voice]) -> list[str]:
    """A line if the machine had other work while lina spoke."""
    processes = [voice.process for voice in voices if voice.process]
    found = [one.get("busy_before") for process in processes for one in (process, process.get("long", {}))]
    most = max((cores for cores in found if cores is not None), default=0.0)
    if most <= MOST_BUSY:
        return []
    return [
        f"lina's speed is not to be trusted: other processes kept {most:.1f} cores busy; --again lina when idle"
    ]


def record(options: argparse.Namespace, voices: Sequence[Voice], remarks: Sequence[str]) -> dict[str, Any]:
    """All numbers, as JSON holds them."""
    summaries, durations = summarize(voices), references(voices)
    facts = {
        "run": options.run and options.run.resolve().name,
        "settings": list(options.set),
        "limit": options.limit,
        "development": options.development,
        "cores": os.cpu_count(),
    }
    if options.recount:
        before = {"development": False} | known_numbers(options.recount)
        facts = {key: before[key] for key in facts}
    return facts | {
        "normalization": identity(),
        "remarks": list(dict.fromkeys([*remarks, *busy(voices)])),
        "bars": [asdict(bar) | {"holds": bar.holds} for bar in bars(voices)],
        "rows": {
            voice.name: {
                "sets": {
                    name: one.model_dump(mode="json", exclude={"name"})
                    for name, one in summaries[voice.name].items()
                },
                "speed": voice.speed,
                "process": voice.process,
                "failures": failures(voice, durations),
            }
            for voice in voices
        },
    }


def known_numbers(path: Path) -> dict[str, Any]:
    """The numbers of an earlier call.

    Raises:
        DataError: the file is missing or has no rows.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not found.get("rows"):
        raise DataError(f"{path}: no numbers of this benchmark; measure first, with --json {path}")
    return found


def with_known_speed(voices: Sequence[Voice], path: Path) -> list[Voice]:
    """The rows with times and memory as a file of numbers has them; without any where it does not have the row."""
    rows = known_numbers(path)["rows"]
    nothing: dict[str, Any] = {"speed": None, "process": None}
    return [
        replace(
            voice,
            clips=[clip.model_copy(update=dict.fromkeys(TIMES)) for clip in voice.clips],
            known_speed=rows.get(voice.name, nothing)["speed"],
            process=rows.get(voice.name, nothing)["process"],
        )
        for voice in voices
    ]


def recount(path: Path) -> tuple[list[Voice], list[str]]:
    """The rows of a file of numbers, from their stored clips, and its remarks."""
    return with_known_speed(read_clips(clips_file(path)), path), known_numbers(path)["remarks"]


def _rows(text: str) -> list[str]:
    names = [OTHER_NAMES.get(name, name) for name in text.split(",") if name]
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"no row {name!r}{did_you_mean(name, NAMES)}")
    return [name for name in NAMES if name in names]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--run", type=Path, help="who the row lina is; by default the voice that comes with it"
    )
    parser.add_argument("--rows", type=_rows, help=f"some of {','.join(NAMES)}; all by default")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/voices"), help="folder of audio and judgements"
    )
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument(
        "--keep-speed", action="store_true", help="times and memory stay as --json FILE has them"
    )
    parser.add_argument(
        "--recount", type=Path, metavar="FILE", help="count errors of stored transcripts again"
    )
    parser.add_argument("--again", type=_rows, default=[], metavar="ROWS", help="say and judge these anew")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N texts of each set")
    parser.add_argument(
        "--development",
        action="store_true",
        help="other texts, to choose settings and checkpoints by; the test's are for what is chosen",
    )
    parser.add_argument("--quick", action="store_true", help="leave out failed texts: half the time")
    parser.add_argument("--whisper-base", type=Path, metavar="DIR", help="CTranslate2 Whisper base")
    parser.add_argument("--real", type=Path, metavar="MANIFEST", help="also kept-out sentences of recordings")
    parser.add_argument("--name", help="of the row lina's folder; by default that of the run")
    parser.add_argument("--speaker", help="of the run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the spec's synthesize section"
    )
    parser.add_argument("--threads", type=int, help="of the speaking process; by default as PyTorch takes")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of the long text, 10 by default; 0 leaves it out"
    )
    options = parser.parse_args(arguments)
    if options.keep_speed and not (options.json and options.json.is_file()):
        parser.error("--keep-speed needs --json FILE with the numbers of an earlier call")
    if options.recount:
        options.json = options.recount
        return options
    if options.rows is None:
        options.rows = list(NAMES)
    if LINA in options.rows and options.run is None:
        try:
            options.run = shipped_voice()
        except LinaError as error:
            parser.error(f"the row lina needs --run DIR, or leave it out with --rows: {error}")
    if CODEC in options.rows:
        needed = (HIBARI, RECORDINGS) if options.real else (HIBARI,)
        options.rows = [name for name in NAMES if name in (*options.rows, *needed)]
    if not options.real:
        options.rows = [name for name in options.rows if name != RECORDINGS]
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    return options


def main() -> int:
    options = parse()
    try:
        voices, remarks = recount(options.recount) if options.recount else measure(options)
        if options.keep_speed:
            voices = with_known_speed(voices, options.json)
    except LinaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(table(voices))
    durations = references(voices)
    for voice in voices:
        for one in failures(voice, durations):
            rate = f"{one['character_error_rate']:.0%} wrong"
            print(f"{voice.name} failed at {one['id']} ({rate}, duration x {one['duration_ratio']}):")
            print(f"  text:  {one['text']}\n  heard: {one['heard']}")
    found = bars(voices)
    if found:
        print(f"\nlina's bars\n{verdict(found)}")
    for remark in [*remarks, *busy(voices)]:
        print(remark)
    if options.json:
        numbers = json.dumps(record(options, voices, remarks), indent=1) + "\n"
        write_clips(clips_file(options.json), voices)
        write_atomic(options.json, numbers.encode())
    return 0 if all(bar.holds for bar in found) else 1


if __name__ == "__main__":
    sys.exit(main())
