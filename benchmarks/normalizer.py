"""Share of a hard list of written English that is read correctly by lina's normalizer, hibari-tts's, and none.

    python -m benchmarks.normalizer [--list tests/tokenizers/hard_english.tsv] [--wrong] [--json FILE]

A line of the list has its kind, a text, and what is to be said, with {one|another} where both are right. All three are
judged by what is heard: their phonemes, without stress, blanks and punctuation, are those of one of the right readings,
which the same G2P reads without its normalizer. ``[x](/sounds/)`` in a reading stands for phonemes.
So a reading that only the G2P decides, such as that of "read", counts too.

    ours     the tokenizer ``phonemes``, which leaves out characters that it cannot read
    hibari   hibari-tts alone: its normalizer and its rules for numbers
    none     words and punctuation as they are; a text with anything else is refused
"""

import argparse
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lina.core.errors import TextError
from lina.tokenizers.phonemes import Phonemes, PhonemesConfig

LIST = Path(__file__).parent.parent / "tests/tokenizers/hard_english.tsv"
_CHOICE = re.compile(r"\{([^{}]*)\}")
_ESCAPE = re.compile(r"\\([n\\])")
_HUNDRED_AND = re.compile(
    r"\b(hundred|thousand) (?=(?:one|two|three|four|five|six|seven|eight|nine|t|eleven|fi|n)\w*)"
)
_UNHEARD = re.compile(r"[^\w]|[ˈˌ]")
_WORDS_ALONE = re.compile(r"[A-Za-z' .,;:!?\"()-]*")

Line = tuple[str, str, str]
Reader = Callable[[str], str]


def read_list(path: Path) -> list[Line]:
    """Kind, text and reading of each line; in a text ``\\n`` is a new line and ``\\\\`` a backslash.

    Raises:
        ValueError: a line has not three fields.
    """
    lines = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3 or not all(fields):
            raise ValueError(f"{path}:{number}: wants a kind, a text and its reading, between tabs")
        text = _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else "\\", fields[1])
        lines.append((fields[0], text, fields[2]))
    return lines


def readings(pattern: str) -> list[str]:
    """All that is right; ``one hundred five`` may be ``one hundred and five``."""
    pieces = [
        piece.split("|") if place % 2 else [piece] for place, piece in enumerate(_CHOICE.split(pattern))
    ]
    found = [" ".join("".join(chosen).split()) for chosen in itertools.product(*pieces)]
    return list(dict.fromkeys([*found, *(_HUNDRED_AND.sub(r"\1 and ", one) for one in found)]))


def audible(phonemes: str) -> str:
    return _UNHEARD.sub("", phonemes)


def readers() -> tuple[dict[str, Reader], Reader]:
    """Return the normalizers compared, and the phonemizer of correct readings."""
    from hibari.g2p import G2P

    ours, g2p = Phonemes.build(config=PhonemesConfig()).skipping_unknown(), G2P()

    def by_ours(text: str) -> str:
        try:
            return ours.phonemes(text)
        except TextError:
            return ""

    def as_it_is(text: str) -> str:
        sounds: str = g2p(text, normalize_text=False)
        return sounds

    def by_none(text: str) -> str:
        return as_it_is(text) if _WORDS_ALONE.fullmatch(text) else ""

    return {"ours": by_ours, "hibari": g2p, "none": by_none}, as_it_is


def measure(lines: list[Line], subjects: dict[str, Reader], right: Reader) -> dict[str, list[Line]]:
    """The lines that each gets wrong."""
    wrong: dict[str, list[Line]] = {name: [] for name in subjects}
    for line in lines:
        accepted = {audible(right(reading)) for reading in readings(line[2])}
        for name, read in subjects.items():
            if audible(read(line[1])) not in accepted:
                wrong[name].append(line)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", type=Path, default=LIST, help="tab-separated: kind, text, what is said")
    parser.add_argument("--wrong", action="store_true", help="show what ours gets wrong")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    try:
        lines = read_list(options.list)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    subjects, right = readers()
    wrong = measure(lines, subjects, right)
    kinds = Counter(kind for kind, _, _ in lines)
    table = {
        kind: {"lines": count}
        | {name: count - sum(one[0] == kind for one in wrong[name]) for name in subjects}
        for kind, count in kinds.items()
    }
    table["all"] = {"lines": len(lines)} | {name: len(lines) - len(wrong[name]) for name in subjects}
    print(f"{'right':14}" + "".join(f"{name:>8}" for name in table["all"]))
    for kind, row in table.items():
        print(f"{kind:14}" + "".join(f"{number:8}" for number in row.values()))
    if options.wrong:
        for _, text, pattern in wrong["ours"]:
            print(f"{text!r}: {subjects['ours'](text)!r}, not {pattern!r}")
    if options.json:
        facts = {"list": options.list.name, "right": table, "wrong": wrong}
        options.json.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
