"""One manifest over the folders that lina's voice learns from; a folder may count several times.

    python -m benchmarks.voice_manifest data/voice/hibari data/voice/kathleen --times kathleen=2 \
        --out data/voice/manifest.jsonl

``--out`` lies above the folders, since audio in a manifest is found from its folder.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from lina.core.corpus.manifest import read_json_manifest
from lina.core.errors import LinaError, did_you_mean
from lina.core.utterance import Utterance


def rows(folder: Path, base: Path, times: int) -> list[dict[str, str]]:
    """The utterances of ``folder``/manifest.jsonl, each ``times`` times under an id of its own."""
    return [
        {
            "id": f"{folder.name}-{one.id}" + (f"-{take}" if take else ""),
            "audio": os.path.relpath(one.audio, base),
            "text": one.text,
            "speaker": one.speaker,
        }
        for take in range(times)
        for one in read_json_manifest(folder / "manifest.jsonl")
        if isinstance(one, Utterance)
    ]


def join(folders: Sequence[Path], times: dict[str, int], out: Path) -> int:
    """Write the manifest; how many utterances it has."""
    base = out.parent
    lines = [row for folder in folders for row in rows(folder, base, times.get(folder.name, 1))]
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")
    return len(lines)


def _times(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if not name or not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N, such as kathleen=2")
    return name, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--times", type=_times, action="append", default=[], metavar="NAME=N")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    names = [folder.name for folder in options.folders]
    for name, _ in options.times:
        if name not in names:
            parser.error(f"--times {name}: no such folder is joined{did_you_mean(name, names)}")
    try:
        print(f"{options.out}: {join(options.folders, dict(options.times), options.out)} utterances")
    except LinaError as error:
        parser.exit(2, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
