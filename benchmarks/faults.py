"""Kill runs at random, at named points and at the n-th operation of the disk, and resume them: ``make faults``.

    python -m benchmarks.faults --json benchmarks/faults.json [--training N] [--writer N] [--encoding N]
    python -m benchmarks.faults --training 0 --writer 0 --encoding 5 --seed 1 --add --json benchmarks/faults.json

Each kill is SIGKILL of a forked process. The killed run is resumed until it ends, and must then equal an uninterrupted
one: the same samples in the same order, none lost or repeated, and the same weights bit for bit. Series that are not
run are kept in the file; with ``--add`` the figures are added to those that it has, so that a series can be
run in parts, each with a seed of its own.
"""

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults_runs import ROOT, kill_runs, many_recordings
from benchmarks.faults_writer import kill_writer


def measure(
    training: int, writer: int, encoding: int, seed: int = 0, steps: int = 16, times: int = 10
) -> dict[str, Any]:
    """Run the series of kills and return their figures."""
    torch.set_num_threads(1)
    draw = random.Random(seed)
    sample = ROOT / "data" / "asterisk-sample" / "manifest.jsonl"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures: dict[str, Any] = {}
        if training:
            (folder / "training").mkdir()
            killed = kill_runs(folder / "training", training, steps, sample, draw, whole_only_data=False)
            figures["training"] = killed._asdict()
        if writer:
            (folder / "writer").mkdir()
            figures["checkpoint writer"] = kill_writer(folder / "writer", writer, draw)._asdict()
        if encoding:
            (folder / "encoding").mkdir()
            corpus = many_recordings(folder / "corpus", times)
            killed = kill_runs(folder / "encoding", encoding, 1, corpus, draw, whole_only_data=True)
            figures["encoding"] = killed._asdict()
    return figures


def merge(before: dict[str, Any], found: dict[str, Any], add: bool) -> dict[str, Any]:
    """Figures of all series; of one that both have, the sums if ``add``, else those of ``found``."""
    merged = before | found
    if add:
        for name in before.keys() & found.keys():
            sums = {
                key: round(before[name][key] + value, 1)
                for key, value in found[name].items()
                if isinstance(value, int | float)
            }
            merged[name] = found[name] | sums
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in (("training", 100), ("writer", 100), ("encoding", 50)):
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--add", action="store_true", help="add the figures to those of the file")
    arguments = parser.parse_args()
    figures = measure(arguments.training, arguments.writer, arguments.encoding, arguments.seed)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
    }
    print(json.dumps(about | {"kills": figures}, indent=1))
    if arguments.json:
        before = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
        merged = merge(
            before.get("kills", {}), {name: about | one for name, one in figures.items()}, arguments.add
        )
        arguments.json.write_text(json.dumps({"kills": merged}, indent=1) + "\n")
    bad = sum(one[key] for one in figures.values() for key in ("lost_or_repeated", "unreadable", "different"))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
