"""How a GPU multiplies in codec training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fast_arithmetic(device: torch.device) -> Iterator[None]:
    """On a GPU: TF32 units for float32 products, and the fastest convolutions, for a while. A CPU stays as it is."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.benchmark = before[1]
