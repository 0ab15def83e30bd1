"""Models whose attention follows the text, jumps through it, or looks everywhere at once."""

from pathlib import Path

import torch
from torch import Tensor

from lina.evaluation.attention_quality import drop_uninformative
from lina.evaluation.records import MODEL, RECORDINGS, ClipRecord
from lina.evaluation.summary import groups
from lina.speech.alignment import alignment, monotonic_focus
from tests.speech.test_alignment import CLEAN, POSITIONS, SKIP, attention

EVERYWHERE = torch.full((120, POSITIONS), 1 / POSITIONS)
IN_JUMPS = attention((torch.tensor(CLEAN) / 4).floor() * 4, blur=0.1)


def clip(id: int, read: Tensor) -> ClipRecord:
    aligned = alignment(read, stopped=True)
    return ClipRecord(
        id=str(id),
        system=MODEL,
        text="x",
        audio=Path("x"),
        seconds=1.0,
        skipped=aligned.skipped,
        repeated=aligned.repeated,
        unread=aligned.unread,
        stopped=True,
        following=monotonic_focus(read),
    )


def measures(*read: Tensor) -> tuple[set[str], list[str]]:
    """Names of the attention measures that are left, and the remarks."""
    remarks: list[str] = []
    recording = ClipRecord(id="0", system=RECORDINGS, text="x", audio=Path("x"), seconds=1.0)
    clips = drop_uninformative([recording, *(clip(id, one) for id, one in enumerate(read))], remarks)
    found = groups(clips)[0]
    assert found.name == MODEL
    assert "cut" in found.measures, "no attention is needed to see whether speech ends"
    return set(found.measures) & {"skipped", "repeated", "unread"}, remarks


def test_attention_measures_stay_where_most_texts_are_followed() -> None:
    clean, skip = attention(CLEAN), attention(SKIP, blur=0.3)
    assert measures(clean, skip, EVERYWHERE) == ({"skipped", "repeated", "unread"}, [])


def test_attention_that_does_not_follow_is_dropped() -> None:
    left, (remark,) = measures(attention(CLEAN), EVERYWHERE, EVERYWHERE)
    assert left == set()
    assert remark.startswith(
        "skipped, repeated and unread are left out: this model's attention does not follow"
    )
    assert "(0.00 of 1, below 0.4)" in remark


def test_skipped_positions_are_dropped_for_attention_in_jumps() -> None:
    left, (remark,) = measures(IN_JUMPS, IN_JUMPS, attention(CLEAN))
    assert left == {"repeated", "unread"}
    assert remark == (
        "skipped is left out: this model's attention follows the text in jumps, and reads 32% of its positions"
    )


def test_without_clips_nothing_is_dropped() -> None:
    remarks: list[str] = []
    assert drop_uninformative([], remarks) == []
    assert remarks == []
