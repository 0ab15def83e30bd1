"""Models whose attention follows the text, jumps through it, or looks everywhere at once."""

from pathlib import Path

import torch
from torch import Tensor

from lina.evaluation.attention_quality import telling
from lina.evaluation.records import MODEL, RECORDINGS, ClipRecord
from lina.evaluation.summary import groups
from lina.speech.alignment import alignment, following
from tests.speech.test_alignment import CLEAN, POSITIONS, SKIP, attention

EVERYWHERE = torch.full((120, POSITIONS), 1 / POSITIONS)
IN_JUMPS = attention((torch.tensor(CLEAN) / 4).floor() * 4, blur=0.1)


def clip(id: int, read: Tensor) -> ClipRecord:
    judged = alignment(read, stopped=True)
    return ClipRecord(
        id=str(id),
        system=MODEL,
        text="x",
        audio=Path("x"),
        seconds=1.0,
        skipped=judged.skipped,
        repeated=judged.repeated,
        unread=judged.unread,
        stopped=True,
        following=following(read),
    )


def measures(*read: Tensor) -> tuple[set[str], list[str]]:
    """Names of what is measured by attention, and what is remarked."""
    remarks: list[str] = []
    recording = ClipRecord(id="0", system=RECORDINGS, text="x", audio=Path("x"), seconds=1.0)
    clips = telling([recording, *(clip(id, one) for id, one in enumerate(read))], remarks)
    found = groups(clips)[0]
    assert found.name == MODEL
    assert "cut" in found.measures, "no attention is needed to see whether speech ends"
    return set(found.measures) & {"skipped", "repeated", "unread"}, remarks


def test_attention_that_follows_is_measured_even_if_a_text_is_not_followed() -> None:
    clean, skip = attention(CLEAN), attention(SKIP, blur=0.3)
    assert measures(clean, skip, EVERYWHERE) == ({"skipped", "repeated", "unread"}, [])


def test_attention_that_does_not_follow_says_nothing() -> None:
    left, (remark,) = measures(attention(CLEAN), EVERYWHERE, EVERYWHERE)
    assert left == set()
    assert remark.startswith(
        "skipped, repeated and unread are left out: this model's attention does not follow"
    )
    assert "(0.00 of 1, below 0.4)" in remark


def test_attention_in_jumps_says_nothing_of_what_lies_between() -> None:
    left, (remark,) = measures(IN_JUMPS, IN_JUMPS, attention(CLEAN))
    assert left == {"repeated", "unread"}
    assert remark == (
        "skipped is left out: this model's attention follows the text in jumps, and reads 32% of its positions"
    )


def test_without_attention_there_is_nothing_to_leave_out() -> None:
    remarks: list[str] = []
    assert telling([], remarks) == []
    assert remarks == []
