"""A page of samples that a person can play: the same texts in several voices, from the audio of ``voices.py``.

    python -m benchmarks.samples_page --audio voices [--lina NAME] [--real MANIFEST] --out docs/samples

For --real, ``voices.py --real MANIFEST`` must have been run: then sentences with a real recording are on the page, too.
Writes index.html and Opus files of about 24 kbit/s beside it, 1 MB in all at most. No network, no script.
"""

import argparse
import html
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import soundfile
import soxr

from benchmarks.voices_rows import CLIP_FILE, CODEC, HIBARI, LINA, RECORDINGS
from benchmarks.voices_sets import REAL, SETS, real_set, text_sets
from lina.core.errors import DataError, LinaError
from lina.evaluation.records import ClipFile
from lina.evaluation.text_set import Item

PLAYED = {
    RECORDINGS: ("Recording", "a real person"),
    HIBARI: ("hibari", "what lina was taught by"),
    CODEC: ("Codec", "the ceiling: lina's codec after the recording, or after hibari"),
    LINA: ("lina", "this project"),
    "espeak-ng": ("espeak-ng", "the floor"),
}
"""Row -> heading and what it is, in the order of columns."""
EACH = 2
"""Texts of each set."""
RATE = 24_000
COMPRESSION = 0.93
"""libsndfile's for Opus: 24 kbit/s of mono at 24 kHz, measured."""
MOST_BYTES = 1_000_000

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem;
  color: #222; background: #fff; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .5rem; border-top: 1px solid #bbb; }
thead small { display: block; font-weight: normal; color: #555; }
td:first-child { min-width: 16rem; }
audio { width: 100%; min-width: 9rem; height: 2.5rem; }
@media (max-width: 50rem) {
  thead { display: none; }
  tr, td { display: block; border: 0; padding: .2rem 0; }
  tr { border-top: 1px solid #bbb; padding: .8rem 0; }
  td[data-voice]::before { content: attr(data-voice); font-size: .85rem; color: #555; }
}
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; }
  thead small, td[data-voice]::before { color: #aaa; }
}
"""


def chosen(items: Sequence[Item], count: int, there: Mapping[str, Mapping[str, Path]]) -> list[Item]:
    """``count`` of a set's texts that lina has said, evenly from its beginning to its end: nobody picked them."""
    clips_of_text = [item for item in items if item.id in there.get(LINA, there[HIBARI])]
    step = max(1, len(clips_of_text) // max(1, count))
    return clips_of_text[::step][:count]


def clips(folder: Path) -> dict[str, Path]:
    """Audio by text id."""
    found = ClipFile(folder / CLIP_FILE).records.values() if (folder / CLIP_FILE).is_file() else ()
    return {one.id: folder / one.audio for one in found if (folder / one.audio).is_file()}


def compress(source: Path, target: Path) -> None:
    audio, rate = soundfile.read(source, dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(axis=1), rate, RATE)
    soundfile.write(target, mono, RATE, format="OGG", subtype="OPUS", compression_level=COMPRESSION)


def page(items: Sequence[Item], files: Mapping[tuple[str, str], str], about: str) -> str:
    """The HTML. ``files``: the name of a file by row and text id; a row that says none of the texts has no column."""
    rows = [name for name in PLAYED if any((name, item.id) in files for item in items)]
    head = "".join(
        f"<th>{PLAYED[name][0]}<small>{html.escape(PLAYED[name][1])}</small></th>" for name in rows
    )
    lines = []
    for item in items:
        cells = "".join(
            f'<td data-voice="{PLAYED[name][0]}"><audio controls preload="none" '
            f'src="{html.escape(files[name, item.id])}" aria-label="{PLAYED[name][0]}"></audio></td>'
            if (name, item.id) in files
            else "<td></td>"
            for name in rows
        )
        lines.append(f"<tr><td>{html.escape(item.text)}</td>{cells}</tr>")
    body = "\n".join(lines)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>lina: samples</title>
<style>{STYLE}</style>
</head>
<body>
<h1>Samples</h1>
<p>{html.escape(about)}</p>
<table>
<thead><tr><th>Text</th>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""


def make(audio: Path, lina: str | None, real: Path | None, out: Path, about: str) -> list[Path]:
    """Write the page; what was written.

    Raises:
        DataError: there is no audio, or several runs and none is named, or it is too much for a page.
    """
    folders = {name: audio / name for name in PLAYED}
    runs = sorted(path.name for path in audio.glob(f"{LINA}-*"))
    if lina is None and len(runs) > 1:
        raise DataError(
            f"{audio}: has {', '.join(runs)}; say which with --lina {runs[0].removeprefix('lina-')}"
        )
    if lina is not None and f"{LINA}-{lina}" not in runs:
        raise DataError(f"{audio}: has no {LINA}-{lina}; it has {', '.join(runs) or 'no run'}")
    folders[LINA] = audio / (f"{LINA}-{lina}" if lina else next(iter(runs), LINA))
    there = {name: found for name, folder in folders.items() if (found := clips(folder))}
    if HIBARI not in there:
        raise DataError(f"{audio}: has no {HIBARI}; run voices.py --out {audio} first")
    sets = text_sets() | ({REAL: real_set(real)} if real else {})
    items = [item for name in (REAL, *SETS) if name in sets for item in chosen(sets[name], EACH, there)]
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.opus"):
        old.unlink()
    files, written = {}, []
    for item in items:
        for name, found in there.items():
            if item.id in found:
                target = out / f"{item.id}-{name}.opus"
                compress(found[item.id], target)
                files[name, item.id] = target.name
                written.append(target)
    index = out / "index.html"
    index.write_text(page(items, files, about), encoding="utf-8")
    written.append(index)
    size = sum(path.stat().st_size for path in written)
    if size > MOST_BYTES:
        raise DataError(f"{out}: {size} bytes, more than {MOST_BYTES}; take fewer texts")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--audio", type=Path, required=True, help="the --out of voices.py")
    parser.add_argument("--lina", metavar="NAME", help="which run, where the folder has several")
    parser.add_argument("--real", type=Path, metavar="MANIFEST", help="as given to voices.py")
    parser.add_argument("--out", type=Path, default=Path("docs/samples"))
    parser.add_argument(
        "--about",
        default="Texts that no training has seen, taken evenly from benchmarks/texts, and not picked by ear.",
        help="the sentence above the table",
    )
    options = parser.parse_args()
    try:
        written = make(options.audio, options.lina, options.real, options.out, options.about)
    except LinaError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{options.out}: {len(written)} files, {sum(path.stat().st_size for path in written)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
