"""Segments of packed rows: frames between two restarts, as kernels of variable length take them.

Such kernels read all rows end to end as one, with the offsets of its sequences (``cu_seqlens``) on the device and on
the CPU, and one initial state per sequence. ``starts`` (bool [B, T]) says the same. Reading it from a GPU would wait
for all that the GPU has to do; so whoever packs rows from a table on the CPU keeps their segments beside ``starts``
(``keep_segments``), and every layer finds them there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class Segments(NamedTuple):
    """N segments of B rows of T frames each, laid end to end."""

    offsets: Int[Tensor, "N1"]
    """First frame of each segment, and the number of all frames."""
    offsets_on_cpu: Int[Tensor, "N1"]
    first: Int[Tensor, "B"]
    """Segment that each row begins with."""
    last: Int[Tensor, "B"]
    """Segment that each row ends with."""
    fresh: Bool[Tensor, "B"]
    """Rows that restart at their first frame."""


_kept: Any = WeakIdKeyDictionary()


def keep_segments(starts: Bool[Tensor, "B T"], on_cpu: Bool[Tensor, "B T"]) -> None:
    """Keep the segments of ``starts``, of which ``on_cpu`` is a copy, for as long as the tensor lives."""
    rows, frames = on_cpu.shape
    begins = on_cpu.clone()
    begins[:, 0] = True
    offsets = torch.cat([begins.flatten().nonzero().flatten(), torch.tensor([rows * frames])])
    after = begins.sum(1).cumsum(0)
    table = (offsets, after - begins.sum(1), after - 1, on_cpu[:, 0].clone())
    device_offsets, first, last, fresh = (one.to(starts.device, non_blocking=True) for one in table)
    _kept[starts] = Segments(device_offsets, offsets, first, last, fresh)


def segments_of(starts: Bool[Tensor, "B T"]) -> Segments:
    """The segments kept beside ``starts``; else they are read from it, which waits for a GPU once."""
    if starts not in _kept:
        keep_segments(starts, starts.cpu())
    segments: Segments = _kept[starts]
    return segments


def can_read(starts: Bool[Tensor, "B T"]) -> bool:
    """Check that segments are kept, or can be read now: the capture of a CUDA graph cannot wait for the device."""
    capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    return starts in _kept or not capturing


def run_segments(
    kernel: Callable[..., tuple[Tensor, Tensor]],
    memory: Float[Tensor, "B H K V"],
    starts: Bool[Tensor, "B T"],
    **frames: Float[Tensor, "B T ..."],
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Run a kernel of variable length over rows that restart at ``starts``: its outputs and the final memories.

    ``kernel`` takes the named ``frames`` as one row, an ``initial_state`` per segment, ``cu_seqlens`` and
    ``cu_seqlens_cpu``, and returns the outputs and a final state per segment.
    """
    segments = segments_of(starts)
    carried = memory.masked_fill(segments.fresh[:, None, None, None], 0.0)
    count = len(segments.offsets_on_cpu) - 1
    initial = carried.new_zeros(count, *carried.shape[1:]).index_copy(0, segments.first, carried)
    out, after = kernel(
        **{name: tensor.flatten(0, 1)[None] for name, tensor in frames.items()},
        initial_state=initial,
        cu_seqlens=segments.offsets,
        cu_seqlens_cpu=segments.offsets_on_cpu,
    )
    return out[0].unflatten(0, starts.shape), after.index_select(0, segments.last)
