"""One manifest over the folders that lina's voice learns from; a folder may count several times.

    cd data/voice; python ../../benchmarks/voice_manifest.py hibari kathleen --times kathleen=2 --out manifest.jsonl

``--out`` lies above the folders, since audio in a manifest is found from its folder.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

from lina.core.errors import LinaError
from lina.core.json_manifest import read_json_manifest
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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--times", action="append", default=[], metavar="NAME=N")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    times = {name: int(count) for name, _, count in (one.partition("=") for one in arguments.times)}
    try:
        print(f"{arguments.out}: {join(arguments.folders, times, arguments.out)} utterances")
    except LinaError as error:
        parser.exit(2, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
