"""Rejected utterances of a corpus: counts per kind of reason, and the limit on them.

A reason is ``kind`` or ``kind: details``, such as ``no such file: a.wav``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lina.core.errors import DataError
from lina.core.utterance import Reject


def reason_kind(reason: str) -> str:
    """Kind of a reason: the part before the details."""
    return reason.split(":", 1)[0]


def count_kinds(rejects: Iterable[Reject]) -> dict[str, int]:
    """Number of rejects per kind of reason, most frequent first."""
    return dict(Counter(reason_kind(reject.reason) for reject in rejects).most_common())


def refuse_too_many(rejects: Sequence[Reject], total: int, max_rejects: float, listed: Path) -> None:
    """Raise DataError if all or too many of a corpus's ``total`` entries were rejected."""
    if total == 0:
        raise DataError("the corpus has no utterances; check data.source and data.config.path")
    fraction = len(rejects) / total
    if len(rejects) < total and fraction <= max_rejects:
        return
    reasons = ", ".join(f"{count} {kind}" for kind, count in count_kinds(rejects).items())
    # If all are rejected, no limit helps.
    remedy = "fix the corpus" + ("" if len(rejects) == total else " or raise data.max_rejects")
    raise DataError(
        f"{len(rejects)} of {total} utterances were rejected ({fraction:.1%}, allowed {max_rejects:.1%}): "
        f"{reasons}; see {listed}, {remedy}"
    )
