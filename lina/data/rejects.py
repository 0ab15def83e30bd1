"""What could not be used of a corpus: reasons counted by kind, and when it is too much.

A reason is ``kind`` or ``kind: particulars``, such as ``no such file: a.wav``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lina.core.errors import DataError
from lina.core.utterance import Reject


def reason_kind(reason: str) -> str:
    """What reasons of one kind have in common: the part before the particulars."""
    return reason.split(":", 1)[0]


def count_kinds(rejects: Iterable[Reject]) -> dict[str, int]:
    """How many were rejected for each kind of reason, the most frequent first."""
    return dict(Counter(reason_kind(reject.reason) for reject in rejects).most_common())


def refuse_too_many(rejects: Sequence[Reject], total: int, max_rejects: float, listed: Path) -> None:
    """Raise DataError if nothing is left of a corpus of ``total`` entries, or too much was rejected."""
    if total == 0:
        raise DataError("the corpus has no utterances; check data.source and data.config.path")
    fraction = len(rejects) / total
    if len(rejects) < total and fraction <= max_rejects:
        return
    reasons = ", ".join(f"{count} {kind}" for kind, count in count_kinds(rejects).items())
    # Where nothing is left, no limit helps.
    remedy = "mend the corpus" + ("" if len(rejects) == total else " or raise data.max_rejects")
    raise DataError(
        f"{len(rejects)} of {total} utterances were rejected ({fraction:.1%}, allowed {max_rejects:.1%}): "
        f"{reasons}; see {listed}, {remedy}"
    )
