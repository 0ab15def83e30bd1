"""Sequence packing: utterances end to end in one row, each with its own text, as a stream over several texts has them.

Each utterance keeps all of its steps, from the column of START to the one that completes its last frame; the START of
the next follows. A *group* is utterances of one speaker in order: at their boundaries the text is swapped and read from
its beginning (``TextSwaps``), and the backbone's state is carried over, as in a single stream that reads one text after
the other. A row holds one group, padded to the longest; or all groups of a micro-batch, without padding, where
``starts`` marks the first steps of groups: there the state restarts.
"""

import importlib.util
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lina.core.errors import SpecError
from lina.core.model.cross_attention import CrossAttention, PositionCrossAttention
from lina.core.model.delay_lm import Conditions, DelayLM
from lina.core.model.text_blocks import TextSwaps
from lina.core.model.tokens import STOP, Columns
from lina.core.ops.dispatch import KernelConfig
from lina.core.ops.segments import keep_segments
from lina.core.protocols import takes_starts
from lina.training.layers import backbones_of


class Packed(NamedTuple):
    """Columns of B rows of utterances, and the steps at which their texts change."""

    columns: Columns
    texts: TextSwaps


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
    place = torch.searchsorted(ends, step.expand(len(rows), -1).contiguous(), right=True)
    exists = place < (rows >= 0).sum(1, keepdim=True)  # [B, S]: utterances that have ended before a step
    place = torch.minimum(place, (rows >= 0).sum(1, keepdim=True).sub(1).clamp(min=0))
    utterance = rows.gather(1, place).clamp(min=0)
    within = step - (ends - steps).gather(1, place)
    swaps = exists & (within == 0)
    within = within.clamp(max=columns.inputs.shape[1] - 1)
    inputs, targets, loss_mask, progress = (tensor[utterance, within] for tensor in columns)
    padding = ~exists[..., None]
    joined = Columns(
        inputs.masked_fill(padding, STOP),
        targets.masked_fill(padding, STOP),
        loss_mask & ~padding,
        progress.masked_fill(~exists, 1.0),
    )
    return Packed(joined, TextSwaps(swaps, utterance))


def share_speakers(conditions: Conditions, groups: Int[Tensor, "U"]) -> Conditions:
    """The conditions of U utterances, with the speaker of each group's first one, whose number ``groups`` gives."""
    return conditions._replace(speaker=conditions.speaker[groups])


class RowStarts(NamedTuple):
    """Restarts of rows of several utterances, whose segments kernels of variable length find without reading them."""

    groups: Bool[Tensor, "B S"] | None
    """First steps of groups; None where every row is a single group."""
    utterances: Bool[Tensor, "B S"]
    """First steps of utterances."""


def row_starts(
    lengths: Int[Tensor, "U"],
    rows: Int[Tensor, "B N"],
    groups: Int[Tensor, "U"],
    codebooks: int,
    device: torch.device,
    multiple: int = 1,
) -> RowStarts | None:
    """The starts of packed rows on ``device``, from tables on the CPU; None where every row is one utterance.

    ``multiple``: S is the smallest multiple of it that the longest row fits in.
    """
    if rows.shape[1] == 1:
        return None
    numbers, exists = rows.clamp(min=0), rows >= 0
    ends = torch.where(exists, lengths[numbers] + codebooks, 0).cumsum(1)
    width = int(ends.max()) + -int(ends.max()) % multiple
    begins = torch.cat([torch.zeros_like(ends[:, :1]), ends[:, :-1]], 1)
    first = exists & (groups[numbers] == numbers)

    def marked(which: Bool[Tensor, "B N"]) -> Bool[Tensor, "B S"]:
        on_cpu = torch.zeros(len(rows), width, dtype=torch.bool)
        row, place = which.nonzero().unbind(1)
        on_cpu[row, begins[row, place]] = True
        starts = on_cpu.to(device, non_blocking=True)
        keep_segments(starts, on_cpu)
        return starts

    utterances = marked(exists)
    if torch.equal(first, exists):
        return RowStarts(utterances, utterances)
    return RowStarts(marked(first) if first[:, 1:].any() else None, utterances)


def packs_groups(model: DelayLM, precision: torch.dtype) -> bool:
    """Check that all streams of a model can restart within a row on a GPU, and are faster there than in padded rows.

    They are with fused kernels. Reference forms loop over the frames of a row, and a row end to end is long.
    """
    streams = (stream for stream, _ in backbones_of(model))
    return all(takes_starts(one) and _has_fused_kernels(one, precision) for one in streams)


def _has_fused_kernels(backbone: Any, precision: torch.dtype) -> bool:
    configs = [getattr(module, "config", None) for module in backbone.modules()]
    kernels = [config for config in configs if isinstance(config, KernelConfig)]
    mixed, installed = precision != torch.float32, all(map(importlib.util.find_spec, ("triton", "fla")))
    return bool(kernels) and all(
        one.kernels == "fused" or (one.kernels == "auto" and installed and one.auto_uses_fused_kernels(mixed))
        for one in kernels
    )


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
