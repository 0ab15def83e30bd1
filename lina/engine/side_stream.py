"""The CUDA stream for work beside the steps of an engine: one per device, since cuBLAS keeps 32 MB for each stream."""

from functools import lru_cache

import torch


def side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream of this device, which waits for none of the steps under way."""
    return _stream(torch.cuda.current_device() if device.index is None else device.index)


@lru_cache
def _stream(index: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(index)
