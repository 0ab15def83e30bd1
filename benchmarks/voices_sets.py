"""The texts that voices are judged on, and real recordings beside them.

    python -m benchmarks.voices_sets FILE...      is one of the texts, or nearly, in these training texts?

A file has a text a line, or is a manifest (.jsonl).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.codec_split import KEPT, KeptOut, chosen
from lina.core.errors import DataError
from lina.evaluation.text_set import Item, read_text_set

TEXTS = Path(__file__).parent / "texts"
DEVELOPMENT = TEXTS / "development"
"""Other texts of the same kinds, to choose settings and checkpoints by."""
SETS = ("everyday", "long", "hard")
ALL = "all"
"""The sets together."""
REAL = "real"
"""Sentences that were kept out of training, with their recordings."""


def text_sets(limit: int | None = None, development: bool = False) -> dict[str, list[Item]]:
    """Of each set the first ``limit`` texts, or all, of the test or of development; ids begin with the set."""
    folder, letter = (DEVELOPMENT, "d") if development else (TEXTS, "")
    return {
        name: [
            Item(f"{name}-{letter}{item.id}", item.text, where=item.where)
            for item in read_text_set(folder / f"{name}.txt")[:limit]
        ]
        for name in SETS
    }


def all_texts() -> dict[str, str]:
    """Texts of the test and of development by id."""
    return {
        item.id: item.text
        for development in (False, True)
        for items in text_sets(development=development).values()
        for item in items
    }


def real_set(manifest: Path, limit: int | None = None) -> list[Item]:
    """One recording of each sentence that no training of lina has seen (``codec_split``).

    Raises:
        DataError: the manifest is missing or damaged, or has too few sentences.
    """
    items = read_text_set(manifest)
    try:
        kept = chosen([item.text for item in items], KEPT["kathleen"])[:limit]
    except ValueError as error:
        raise DataError(f"{manifest}: {error}") from None
    first: dict[str, Item] = {}
    for item in items:
        if item.recording is not None:
            first.setdefault(item.text, item)
    return [
        Item(f"{REAL}-{number:04d}", text, first[text].recording, first[text].speaker, first[text].where)
        for number, text in enumerate(kept, start=1)
        if text in first
    ]


def shared(texts: Sequence[str], others: Sequence[str]) -> list[str]:
    """Those of ``texts`` that are in ``others``, or nearly: such texts would tell nothing of a trained voice."""
    known = KeptOut(others)
    return [text for text in texts if text in known]


def main(files: Sequence[str]) -> int:
    texts = list(all_texts().values())
    try:
        found = {file: shared(texts, [item.text for item in read_text_set(Path(file))]) for file in files}
    except DataError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for file, those in found.items():
        print(f"{file}: {len(those)} of {len(texts)} texts" + "".join(f"\n  {text}" for text in those))
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
