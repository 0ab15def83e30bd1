"""Entries of a corpus, of which a test expects that they are of one kind."""

from collections.abc import Iterable

from lina.core.utterance import Reject, Utterance


def utterances(entries: Iterable[Utterance | Reject]) -> list[Utterance]:
    """The entries, none of which is rejected."""
    found = list(entries)
    usable = [entry for entry in found if isinstance(entry, Utterance)]
    assert len(usable) == len(found), found
    return usable


def reason(entry: Utterance | Reject) -> str:
    """Reason why the entry is rejected, which it is."""
    assert isinstance(entry, Reject)
    return entry.reason
