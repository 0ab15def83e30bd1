"""The CUDA stream for work beside the steps of an engine: one per device, since cuBLAS keeps 32 MB for each stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch


def side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of this device, which waits for none of the steps under way."""
    return _stream(torch.cuda.current_device() if device.index is None else device.index)


@contextmanager
def beside_steps(device: torch.device) -> Iterator[None]:
    """Work that, on a GPU, does not wait for the steps under way; steps issued afterwards wait for it."""
    if device.type != "cuda":
        yield
        return
    side, here = side_stream(device), torch.cuda.current_stream(device)
    try:
        with torch.cuda.stream(side):
            yield
    finally:
        here.wait_stream(side)


@lru_cache
def _stream(index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(index)
