"""Laws that a deliberate mistake breaks."""

from collections.abc import Iterable

from lina.core.laws import LawCase, LawFailed


def broken_laws(cases: Iterable[LawCase]) -> list[str]:
    """Names of the laws whose cases fail, in order."""
    found = []
    for case in cases:
        try:
            case.check()
        except LawFailed as failure:
            found.append(failure.law)
    return found
