"""Tables of chunks of rows end to end, which flash-linear-attention's kernels read, without waiting for the GPU.

flash-linear-attention 0.6 reads the number of chunks from the device three times in every layer (``chunk_fwd_h`` and
``chunk_bwd_dh``). Each time the host waits for all that the GPU has to do, so that next to nothing is launched ahead:
40 of 196 ms of a training step of GLA of 232.6 million parameters on an H200. Here it is read once per batch.

A CUDA graph cannot read it at all, and its tensors have one size for all batches. ``fix_chunks`` gives the tables of a
batch's offsets the size of the worst case. Chunks beyond the last one lie behind the end of the last sequence: kernels
load and store nothing there, as behind the end of any other chunk.
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
PrepareIndices = Callable[..., Tensor]

_fixed: Any = WeakIdKeyDictionary()
"""Offsets -> the number of frames, and the indices made so far by chunk size."""


class CountedOffsets(torch.Tensor):
    """First chunk of each sequence, on the device, and the number of all chunks, which is also on the CPU."""

    count: Int[Tensor, ""]

    def __getitem__(self, place: Any) -> Tensor:
        return self.count if isinstance(place, int) and place == -1 else super().__getitem__(place)


def fix_chunks(cu_seqlens: Int[Tensor, "N1"], frames: int) -> None:
    """Give the tables of N sequences of ``frames`` frames in all the size that serves any such offsets."""
    _fixed[cu_seqlens] = frames, {}


def most_chunks(sequences: int, frames: int, chunk_size: int) -> int:
    """Upper bound of the chunks of so many sequences: each may end in one that is not full."""
    return frames // chunk_size + sequences


def chunk_indices(cu_seqlens: Int[Tensor, "N1"], chunk_size: int, count: int) -> Int[Tensor, "count 2"]:
    """Sequence of each chunk, and its number in there, on the device alone."""
    chunks = (cu_seqlens.diff() + chunk_size - 1) // chunk_size
    ends = chunks.cumsum(0)
    place = torch.arange(count, device=cu_seqlens.device)
    sequence = torch.searchsorted(ends, place, right=True).clamp(max=len(chunks) - 1)
    return torch.stack([sequence, place - (ends - chunks)[sequence]], 1).to(cu_seqlens)


def fixed_indices(prepare: PrepareIndices) -> PrepareIndices:
    """Let ``prepare_chunk_indices(cu_seqlens, chunk_size)`` follow ``fix_chunks``."""

    @functools.wraps(prepare)
    def prepare_fixed(
        cu_seqlens: Int[Tensor, "N1"], chunk_size: int, *rest: Any, **further: Any
    ) -> Int[Tensor, "C 2"]:
        if cu_seqlens not in _fixed:
            return prepare(cu_seqlens, chunk_size, *rest, **further)
        frames, by_size = _fixed[cu_seqlens]
        if chunk_size not in by_size:
            count = most_chunks(len(cu_seqlens) - 1, frames, chunk_size)
            by_size[chunk_size] = chunk_indices(cu_seqlens, chunk_size, count)
        indices: Tensor = by_size[chunk_size]
        return indices

    return prepare_fixed


def read_once(prepare: PrepareOffsets) -> PrepareOffsets:
    """Let ``prepare_chunk_offsets(cu_seqlens, chunk_size)`` copy the last offset to the CPU once per ``cu_seqlens``.

    After ``fix_chunks`` that is the upper bound.
    """
    known: Any = WeakIdKeyDictionary()

    @functools.wraps(prepare)
    def prepare_once(cu_seqlens: Int[Tensor, "N1"], chunk_size: int) -> Int[Tensor, "N1"]:
        if cu_seqlens not in known:
            known[cu_seqlens] = {}
        by_size: dict[int, CountedOffsets] = known[cu_seqlens]
        if chunk_size not in by_size:
            offsets = prepare(cu_seqlens, chunk_size)
            with_count = offsets.as_subclass(CountedOffsets)
            if cu_seqlens in _fixed:
                most = most_chunks(len(cu_seqlens) - 1, _fixed[cu_seqlens][0], chunk_size)
                with_count.count = torch.tensor(most)
            else:
                with_count.count = offsets[-1].cpu()
            by_size[chunk_size] = with_count
        return by_size[chunk_size]

    return prepare_once


def set_up_chunk_tables() -> None:
    """Set this up in flash-linear-attention, for the whole process, once its operators have been imported."""
    chunk_h: Any = sys.modules.get("fla.ops.common.chunk_h")
    if hasattr(chunk_h, "prepare_chunk_offsets"):
        chunk_h.prepare_chunk_offsets = read_once(chunk_h.prepare_chunk_offsets)
    operators: list[Any] = [module for name, module in sys.modules.items() if name.startswith("fla.ops.")]
    for module in operators:
        if "prepare_chunk_indices" in vars(module):
            module.prepare_chunk_indices = fixed_indices(module.prepare_chunk_indices)
