"""A step that the device has been given: its numbers are read while the device computes the next one.

Reading them at once would leave the device idle until the host has issued the first kernels of the next step.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor


class HostCopy:
    """A copy of a tensor on its way to the host, behind all that its device has been given so far."""

    def __init__(self, values: Float64[Tensor, "N"]) -> None:
        self._values, self._copied = values, None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()

    def read(self) -> Float64[Tensor, "N"]:
        """Wait until it is there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._values


class IssuedStep(NamedTuple):
    """All that is needed to finish ``step`` once its numbers are there."""

    step: int
    numbers: HostCopy
    """Of ``step_numbers``, and the norm of the gradients after them."""
    rate: float
    largest: float
    """Norm above which the step was not applied."""
    further: dict[str, float]
    """Metrics of hooks."""
