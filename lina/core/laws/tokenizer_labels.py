"""The law of a tokenizer's labels."""

from lina.core.laws.law import Violation
from lina.core.protocols import Tokenizer


def labels_are_printable(tokenizer: Tokenizer) -> None:
    """labels gives one short printable label for each id, whatever ids stand beside it; some have letters or digits."""
    last = tokenizer.vocab_size - 1
    ids = [*range(min(tokenizer.vocab_size, 4_000)), last]
    labels = tokenizer.labels(ids)
    if type(labels) is not list or len(labels) != len(ids):
        found = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise Violation(f"labels of {len(ids)} ids: expected a list of as many, found {found}")
    for index, label in zip(ids, labels, strict=True):
        if type(label) is not str or not label.isprintable() or not 1 <= len(label) <= 40:
            raise Violation(f"label of id {index}: expected 1 to 40 printable characters, found {label!r}")
    marks = tokenizer.flush(tokenizer.initial_state())
    if not any(
        any(map(str.isalnum, label)) for index, label in zip(ids, labels, strict=True) if index not in marks
    ):
        raise Violation(
            "labels: expected letters or digits in those of sounds, found none: no text would be spoken"
        )
    if tokenizer.labels([]) != []:
        raise Violation(f"labels of no ids: expected [], found {tokenizer.labels([])!r}")
    for index, label in {0: labels[0], len(ids) // 2: labels[len(ids) // 2], last: labels[-1]}.items():
        if index in ids and (twice := tokenizer.labels([index, index])) != [label, label]:
            raise Violation(f"label of id {index}: {label!r} among others, {twice} by itself, twice")
