"""Drop attention-based measures where a model's attention carries no information about its reading."""

from collections.abc import Sequence
from statistics import median

from lina.evaluation.records import ClipRecord

MIN_FOLLOWING = 0.4
"""Least median over texts of ``monotonic_focus``. Models of the demo's data, 17 texts: 0.91 to 0.99 with guided
attention, 0 to 0.05 without, although their speech is no worse."""
MAX_SKIPPED = 0.5
"""Largest median share of unread positions; above it the attention moves in jumps as a rule, not by mistake."""


def drop_uninformative(clips: Sequence[ClipRecord], remarks: list[str]) -> list[ClipRecord]:
    """Return the clips without the attention measures that mean nothing for this model; log each reason in ``remarks``.

    Decided over all texts: a single text that is not followed is a failure of the speech, not of the measure.
    """
    followed = [clip.following for clip in clips if clip.following is not None]
    if followed and median(followed) < MIN_FOLLOWING:
        remarks.append(
            "skipped, repeated and unread are left out: this model's attention does not follow the text "
            f"({median(followed):.2f} of 1, below {MIN_FOLLOWING})"
        )
        return [clip.model_copy(update={"skipped": None, "repeated": None, "unread": None}) for clip in clips]
    skipped = [clip.skipped for clip in clips if clip.skipped is not None]
    if skipped and median(skipped) > MAX_SKIPPED:
        remarks.append(
            "skipped is left out: this model's attention follows the text in jumps, "
            f"and reads {1 - median(skipped):.0%} of its positions"
        )
        return [clip.model_copy(update={"skipped": None}) for clip in clips]
    return list(clips)
