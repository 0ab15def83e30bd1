"""Numbers of chunks in rows end to end, read from the GPU once per batch.

flash-linear-attention 0.6 reads the number of chunks from the device three times in every layer (``chunk_fwd_h`` and
``chunk_bwd_dh``). Each time the host waits for all that the GPU has to do, so that next to nothing is launched ahead:
40 of 196 ms of a training step of GLA of 232.6 million parameters on an H200.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

PrepareOffsets = Callable[[Tensor, int], Tensor]


class CountedOffsets(torch.Tensor):
    """First chunk of each sequence, on the device, and the number of all chunks, which is also on the CPU."""

    count: Int[Tensor, ""]

    def __getitem__(self, place: Any) -> Tensor:
        return self.count if isinstance(place, int) and place == -1 else super().__getitem__(place)


def read_once(prepare: PrepareOffsets) -> PrepareOffsets:
    """Let ``prepare_chunk_offsets(cu_seqlens, chunk_size)`` copy the last offset to the CPU once per ``cu_seqlens``."""
    known: Any = WeakIdKeyDictionary()

    @functools.wraps(prepare)
    def prepare_once(cu_seqlens: Int[Tensor, "N1"], chunk_size: int) -> Int[Tensor, "N1"]:
        if cu_seqlens not in known:
            known[cu_seqlens] = {}
        by_size: dict[int, CountedOffsets] = known[cu_seqlens]
        if chunk_size not in by_size:
            offsets = prepare(cu_seqlens, chunk_size)
            with_count = offsets.as_subclass(CountedOffsets)
            with_count.count = offsets[-1].cpu()
            by_size[chunk_size] = with_count
        return by_size[chunk_size]

    return prepare_once


def read_counts_once() -> None:
    """Set this up in flash-linear-attention, for the whole process, once its operators have been imported."""
    chunk_h: Any = sys.modules.get("fla.ops.common.chunk_h")
    if hasattr(chunk_h, "prepare_chunk_offsets"):
        chunk_h.prepare_chunk_offsets = read_once(chunk_h.prepare_chunk_offsets)
