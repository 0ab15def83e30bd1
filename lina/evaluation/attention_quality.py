"""Whether a model's attention says anything about how it reads: what says nothing is left out of an evaluation."""

from collections.abc import Sequence
from statistics import median

from lina.evaluation.records import ClipRecord

FOLLOWS = 0.4
"""Half of the texts must be followed so well. Models of the demo's data, 17 texts: 0.91 to 0.99 with guided attention,
0 to 0.05 without, though it speaks no worse."""
IN_JUMPS = 0.5
"""Where half of the texts have more than this share of positions unread, it is the way of the model to jump."""


def telling(clips: Sequence[ClipRecord], remarks: list[str]) -> list[ClipRecord]:
    """The clips without measures by attention that mean nothing for this model; ``remarks`` gets a line that says why.

    It is judged over all texts: one that is not followed is a failure of the speech, not of the measure.
    """
    followed = [clip.following for clip in clips if clip.following is not None]
    if followed and median(followed) < FOLLOWS:
        remarks.append(
            "skipped, repeated and unread are left out: this model's attention does not follow the text "
            f"({median(followed):.2f} of 1, below {FOLLOWS})"
        )
        return [clip.model_copy(update={"skipped": None, "repeated": None, "unread": None}) for clip in clips]
    skipped = [clip.skipped for clip in clips if clip.skipped is not None]
    if skipped and median(skipped) > IN_JUMPS:
        remarks.append(
            "skipped is left out: this model's attention follows the text in jumps, "
            f"and reads {1 - median(skipped):.0%} of its positions"
        )
        return [clip.model_copy(update={"skipped": None}) for clip in clips]
    return list(clips)
