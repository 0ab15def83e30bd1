import gc
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from lina.core.process.chunk_tables import (
    chunk_indices,
    fix_chunks,
    most_chunks,
    read_once,
    set_up_chunk_tables,
)

CUMULATIVE = torch.tensor([0, 100, 130, 300])


def prepare(cu_seqlens: torch.Tensor, chunk_size: int) -> torch.Tensor:
    chunks = (cu_seqlens.diff() + chunk_size - 1) // chunk_size
    return torch.cat([chunks.new_zeros(1), chunks.cumsum(0)])


def test_offsets_are_the_same_and_are_read_once_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    original = torch.Tensor.cpu

    def counting(tensor: torch.Tensor) -> torch.Tensor:
        reads.append(tensor)
        return original(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counting)
    once = read_once(prepare)
    for size in (64, 32):
        for _ in range(3):
            offsets = once(CUMULATIVE, size)
            assert torch.equal(offsets.as_subclass(torch.Tensor), prepare(CUMULATIVE, size))
            assert offsets[-1].item() == prepare(CUMULATIVE, size)[-1].item()
            assert [int(one) for one in offsets[:-1]] == prepare(CUMULATIVE, size)[:-1].tolist()
            assert offsets.data_ptr() == once(CUMULATIVE, size).data_ptr()
    assert len(reads) == 2


def test_the_operators_of_fla_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk_h: Any = ModuleType("fla.ops.common.chunk_h")
    chunk_h.prepare_chunk_offsets = prepare
    monkeypatch.setitem(sys.modules, "fla.ops.common.chunk_h", chunk_h)
    set_up_chunk_tables()
    offsets = chunk_h.prepare_chunk_offsets(CUMULATIVE, 64)
    assert chunk_h.prepare_chunk_offsets(CUMULATIVE, 64) is offsets


def test_equal_values_in_another_tensor_are_another_batch() -> None:
    once = read_once(prepare)
    first = CUMULATIVE.clone()
    assert int(once(first, 64)[-1]) == 6
    assert int(once(torch.tensor([0, 64]), 64)[-1]) == 1
    del first
    gc.collect()
    assert int(once(torch.tensor([0, 640]), 64)[-1]) == 10


@pytest.mark.parametrize("size", [16, 64])
def test_fixed_tables_have_the_chunks_and_empty_ones_behind_the_end(size: int) -> None:
    """As ``prepare_chunk_indices`` of fla has them, whose module needs Triton."""
    expected = [
        (n, c) for n, frames in enumerate(CUMULATIVE.diff().tolist()) for c in range(-(-frames // size))
    ]
    count = most_chunks(3, 300, size)
    found = chunk_indices(CUMULATIVE, size, count)
    assert len(found) == count >= len(expected)
    assert [tuple(one) for one in found.tolist()][: len(expected)] == expected
    for sequence, number in found[len(expected) :].tolist():
        assert sequence == 2
        assert number * size >= 170
    # Kernels find the state before a chunk at the first one of its sequence and its number.
    first = prepare(CUMULATIVE, size)[found[:, 0]]
    assert (first + found[:, 1]).tolist() == list(range(count))


def test_any_layout_has_room_in_the_fixed_size() -> None:
    for offsets in ([0, 1, 2, 300], [0, 65, 130, 300], [0, 64, 128, 300], [0, 298, 299, 300]):
        for size in (16, 32, 64, 128):
            assert int(prepare(torch.tensor(offsets), size)[-1]) <= most_chunks(3, 300, size)


def test_operators_of_fla_take_fixed_tables_without_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def dynamic(cu_seqlens: torch.Tensor, chunk_size: int, cu_seqlens_cpu: Any = None) -> torch.Tensor:
        return torch.zeros(1, 2, dtype=torch.int64)

    chunk_h: Any = ModuleType("fla.ops.common.chunk_h")
    chunk_h.prepare_chunk_offsets, chunk_h.prepare_chunk_indices = prepare, dynamic
    monkeypatch.setitem(sys.modules, "fla.ops.common.chunk_h", chunk_h)
    set_up_chunk_tables()
    assert len(chunk_h.prepare_chunk_indices(CUMULATIVE, 64, cu_seqlens_cpu=CUMULATIVE)) == 1
    offsets = CUMULATIVE.clone()
    fix_chunks(offsets, 300)

    def refuse(tensor: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the count was read from the device")

    monkeypatch.setattr(torch.Tensor, "cpu", refuse)
    assert len(chunk_h.prepare_chunk_indices(offsets, 64, cu_seqlens_cpu=None)) == 7
    assert chunk_h.prepare_chunk_indices(offsets, 64) is chunk_h.prepare_chunk_indices(offsets, 64)
    assert chunk_h.prepare_chunk_offsets(offsets, 64)[-1].item() == 7
