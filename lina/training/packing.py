"""Sequence packing: utterances end to end in one row, each with its own text, as a stream over several texts has them.

Each utterance keeps all of its steps, from the column of START to the one that completes its last frame; the START of
the next follows. At this boundary the text is swapped and read from its beginning, and the backbone's state is
carried over. So a row equals the input of a single stream that reads one text after the other.
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


class Packed(NamedTuple):
    """Columns of B rows of utterances, and the steps at which their texts change."""

    columns: Columns
    starts: Bool[Tensor, "B S"]
    """The first step of each utterance."""


def pack_columns(
    columns: Columns, lengths: Int[Tensor, "U"], rows: Int[Tensor, "B N"], width: int | None = None
) -> Packed:
    """Pack the columns of U utterances, of ``lengths`` frames each, end to end.

    ``rows``: numbers of the utterances of each row, in order; -1 after the last.
    ``width``: steps per row, at least those of the longest row, which is the default and costs a synchronization on a
    GPU.
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
    inputs, targets, loss_mask, progress = (tensor[utterance, within] for tensor in columns)
    padding = ~exists[..., None]
    joined = Columns(
        inputs.masked_fill(padding, STOP),
        targets.masked_fill(padding, STOP),
        loss_mask & ~padding,
        progress.masked_fill(~exists, 1.0),
    )
    return Packed(joined, exists & (within == 0))


def pack_conditions(conditions: Conditions, rows: Int[Tensor, "B N"]) -> Conditions:
    """The texts of each row side by side, and the speaker of its first utterance."""
    return Conditions(side_by_side(conditions.text, rows), conditions.speaker[rows[:, 0]])


def validate_packing(attention: CrossAttention, backbone: str, utterances: int) -> None:
    """Check that this attention can be trained on packed rows of ``utterances`` utterances.

    Raises:
        SpecError: its position network cannot restart within a row.
    """
    if (
        utterances > 1
        and isinstance(attention, PositionCrossAttention)
        and not takes_starts(attention.pos_net)
    ):
        raise SpecError(
            f"train.consecutive is {utterances}, but the position network of text.attention: position cannot "
            f"restart within a row: backbone {backbone!r} takes no starts; set text.attention: plain, "
            "train.consecutive: 1, or name another backbone"
        )
