"""Utterances end to end in one row, each with its own text: what a stream that goes on to the next text is trained on.

Each utterance keeps all of its steps, from the column of START to the one that completes its last frame; then comes
the START of the next. There, at the seam, the text is swapped and read from its beginning, and the backbone's state
goes through. So a row is what a single stream reads when it is given one text after the other.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.errors import SpecError
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention, side_by_side
from lina.core.model.delay_lm import Conditions
from lina.core.model.tokens import STOP, Columns
from lina.core.protocols import takes_starts


class Joined(NamedTuple):
    """Columns of B rows of utterances, and where in them the texts change."""

    columns: Columns
    starts: Bool[Tensor, "B S"]
    """The first step of each utterance."""


def join_columns(
    columns: Columns, lengths: Int[Tensor, "U"], rows: Int[Tensor, "B N"], width: int | None = None
) -> Joined:
    """Lay the columns of U utterances, of ``lengths`` frames each, end to end.

    ``rows``: numbers of the utterances that each row has, in order; -1 after the last one of a row with fewer.
    ``width``: steps of the rows, at least those of the longest, which is the default and has to be waited for on a GPU.
    """
    codebooks = columns.inputs.shape[2]
    steps = torch.where(rows >= 0, lengths[rows.clamp(min=0)] + codebooks, 0)
    ends = steps.cumsum(1)
    step = torch.arange(int(ends[:, -1].max()) if width is None else width, device=rows.device)
    place = (step >= ends[..., None]).sum(1)  # [B, S]: utterances that have ended before a step
    exists = place < rows.shape[1]
    place = place.clamp(max=rows.shape[1] - 1)
    utterance = rows.gather(1, place).clamp(min=0)
    within = (step - (ends - steps).gather(1, place)).clamp(max=columns.inputs.shape[1] - 1)
    inputs, targets, counted, progress = (part[utterance, within] for part in columns)
    padding = ~exists[..., None]
    joined = Columns(
        inputs.masked_fill(padding, STOP),
        targets.masked_fill(padding, STOP),
        counted & ~padding,
        progress.masked_fill(~exists, 1.0),
    )
    return Joined(joined, exists & (within == 0))


def join_conditions(conditions: Conditions, rows: Int[Tensor, "B N"]) -> Conditions:
    """The texts of each row side by side, and the speaker of its first utterance."""
    return Conditions(side_by_side(conditions.text, rows), conditions.speaker[rows[:, 0]])


def check_seams(attention: CrossAttention, backbone: str, utterances: int) -> None:
    """Whether this attention can be trained on rows of so many utterances.

    Raises:
        SpecError: its position network cannot begin anew within a row.
    """
    if (
        utterances > 1
        and isinstance(attention, PositionCrossAttention)
        and not takes_starts(attention.pos_net)
    ):
        raise SpecError(
            f"train.consecutive is {utterances}, but the position network of text.attention: position cannot begin "
            f"anew within a row: backbone {backbone!r} takes no starts; say text.attention: plain, "
            "train.consecutive: 1, or name another backbone"
        )
