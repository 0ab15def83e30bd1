import gc
import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from lina.core.process.chunk_counts import read_counts_once, read_once

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
    read_counts_once()
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
