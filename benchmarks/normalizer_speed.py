"""Cost of the English normalizer and of the sentence cutter on thirty patterns of text, up to a megabyte.

    python -m benchmarks.normalizer_speed [--json FILE] [--most CHARACTERS]

A pattern is repeated to n characters, for n = 500,000, 1,000,000, ... up to ``--most``. What counts is how the CPU time
grows: time(2n) / time(n) is 2 for linear cost, 4 for quadratic. ``seconds`` are those of 100,000 characters, on the
machine that the file names; ``stream`` those of 100,000 characters that come one by one.
"""

import argparse
import itertools
import json
import logging
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from lina.core.text.sentence_ends import sentence_end
from lina.core.text.sentences import SentenceCutter
from lina.tokenizers.english.normalizer import EnglishNormalizer

FIRST = 500_000
STREAMED = 100_000
PATTERNS = {
    "words": "The quick brown fox jumps over the lazy dog. ", "short words": "it is a ", "hyphens": "a-",
    "capitals": "ABC ", "digits": "1", "numbers": "1 ", "commas": "1,", "colons": "1:", "dates": "1/2/",
    "times": "1:30-", "ranges": "1-", "versions": "v1.", "money": "$1 ", "units": "5 km ", "fractions": "½",
    "stops": ".", "initials": "U.S. ", "mail": "a@", "addresses": "www.", "paths": "/a", "quotes": '"',
    "apostrophes": "'a ", "brackets": "[", "phonemes": "[ˈa] ", "tags": "<b>", "angles": "<",
    "entities": "&amp;", "emphasis": "*a*", "links": "[a](", "underscores": "_a", "numerals": "IV ",
    "emoji": "😀", "foreign": "東", "blanks": " ", "lines": "\n- a",
    "mixed": "Dr. Lee paid $5.50 on 3/4/2024 at 5 p.m., 4x more. ",
}  # fmt: skip


def cpu_seconds(work: Callable[[str], object], text: str) -> float:
    began = time.process_time()
    work(text)
    return time.process_time() - began


def cut(text: str) -> None:
    start: int | None = 0
    while start is not None:
        start = sentence_end(text, start)


def stream(step: Callable[[str, Any], tuple[Any, Any]], state: Any, text: str) -> None:
    """Fold ``step`` over the characters of a text."""
    for character in text:
        _, state = step(character, state)


def measure(pattern: str, most: int) -> dict[str, dict[str, float | list[float]]]:
    """For normalizer and cutter: CPU seconds per 100,000 characters, and time(2n) / time(n) for each n."""
    normalizer, cutter = EnglishNormalizer(unknown="skip"), SentenceCutter()
    row: dict[str, dict[str, float | list[float]]] = {}
    for name, work, streamed in (
        ("normalizer", normalizer.parallel_forward, normalizer),
        ("cutter", cut, cutter),
    ):
        sizes = [FIRST]
        while sizes[-1] * 2 <= most:
            sizes.append(sizes[-1] * 2)
        work(pattern * 100)
        spent = [cpu_seconds(work, _repeated(pattern, size)) for size in sizes]
        folding = partial(stream, streamed.step, streamed.initial_state())
        row[name] = {
            "seconds": round(spent[-1] / sizes[-1] * 100_000, 4),
            "growth": [round(after / max(before, 1e-3), 2) for before, after in itertools.pairwise(spent)],
            "stream": round(cpu_seconds(folding, _repeated(pattern, STREAMED)), 3),
        }
    return row


def _repeated(pattern: str, size: int) -> str:
    return (pattern * (size // len(pattern) + 1))[:size]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--most", type=int, default=1_000_000, help="characters of the longest text")
    options = parser.parse_args()
    if options.most < 2 * FIRST:
        print(f"--most {options.most}: growth needs at least {2 * FIRST} characters", file=sys.stderr)
        return 2
    logging.disable(logging.WARNING)
    table = {}
    heads = [f"{part + ': s/100k':>20}{'growth':>10}{'stream':>9}" for part in ("normalizer", "cutter")]
    print(f"{'pattern':14}" + "".join(heads))
    for name, pattern in PATTERNS.items():
        table[name] = measure(pattern, options.most)
        columns = [
            f"{part['seconds']:>20}{part['growth']!s:>10}{part['stream']:>9}"
            for part in (table[name]["normalizer"], table[name]["cutter"])
        ]
        print(f"{name:14}" + "".join(columns), flush=True)
    if options.json:
        facts = {
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "patterns": table,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
