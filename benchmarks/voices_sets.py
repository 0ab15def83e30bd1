"""The texts that voices are judged on, and real recordings beside them."""

from collections.abc import Sequence
from pathlib import Path

from codec_split import KEPT, KeptOut, chosen

from lina.core.errors import DataError
from lina.core.evaluation.text_set import Item, read_text_set

TEXTS = Path(__file__).parent / "texts"
SETS = ("everyday", "long", "hard")
ALL = "all"
"""The sets together."""
REAL = "real"
"""Sentences that were kept out of training, with their recordings."""


def text_sets(limit: int | None = None) -> dict[str, list[Item]]:
    """Of each set the first ``limit`` texts, or all; ids say the set."""
    return {
        name: [
            Item(f"{name}-{item.id}", item.text, where=item.where)
            for item in read_text_set(TEXTS / f"{name}.txt")[:limit]
        ]
        for name in SETS
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
