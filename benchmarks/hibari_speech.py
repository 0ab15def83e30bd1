"""Synthetic English for training a codec: as much of a list of sentences as is wanted, on all cores.

    python -m benchmarks.codec_data sentences --out data/codec/sentences.txt
    python -m benchmarks.hibari_speech data/codec/sentences.txt --minutes 600 --out data/codec/hibari

About 100 times real time a core; needs hibari-tts and soundfile, no PyTorch. What is there already is kept.
"""

import argparse
import time
from pathlib import Path

from lina.corpora.synthesis import synthesize


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sentences", type=Path, help="one a line; codec_data.py leaves out the kept ones")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--processes", type=int, help="all cores by default")
    arguments = parser.parse_args()
    started = time.monotonic()
    lines = arguments.sentences.read_text(encoding="utf-8").splitlines()
    minutes = synthesize(lines, arguments.out, processes=arguments.processes, minutes=arguments.minutes)
    seconds = time.monotonic() - started
    print(f"{arguments.out}: {minutes:.1f} minutes, {60 * minutes / seconds:.0f} times real time")


if __name__ == "__main__":
    main()
