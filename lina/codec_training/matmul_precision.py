"""TF32 matrix products and cuDNN autotuning for codec training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tf32_matmul(device: torch.device) -> Iterator[None]:
    """Within the context, use TF32 for float32 products and cuDNN autotuning on a GPU. Does nothing on a CPU."""
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
