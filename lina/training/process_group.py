"""Data parallelism: ranks compute different micro-batches of a step and all-reduce their gradients.

The all-reduced sums are a function of the step alone, so that all ranks have equal weights after it; only gradients
and a few numbers are exchanged.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Float64
from torch import Tensor, nn

TIMEOUT = timedelta(hours=1)
"""Longest wait for another rank, which may be validating. A rank that exits is noticed at once."""


class LostError(Exception):
    """Another rank of the process group has exited or does not respond."""


class ProcessGroup:
    """This rank and the size of its process group; a group of one exchanges nothing."""

    def __init__(self, rank: int = 0, size: int = 1, alert: Callable[[], None] = lambda: None) -> None:
        """``alert`` raises if another rank has exited."""
        self.rank, self.size, self.alert = rank, size, alert
        self.zeros: dict[nn.Parameter, Tensor] = {}
        """Stand-ins for gradients that only other ranks have, at fixed addresses: a captured update stores them."""

    @property
    def is_main(self) -> bool:
        """True for the rank that writes, validates and logs."""
        return self.rank == 0

    def micro_batches(self, accumulate: int) -> range:
        """The numbers of a step's micro-batches that this rank computes."""
        return range(self.rank, accumulate, self.size)

    def all_reduce_gradients(
        self, parameters: Iterable[nn.Parameter], numbers: Float64[Tensor, "N"]
    ) -> Float64[Tensor, "N"]:
        """All-reduce (sum) the gradients in place; return the all-reduced ``numbers``.

        A gradient that some ranks lack counts as zeros there; one that all ranks lack stays None.

        Raises:
            LostError: another rank has exited.
        """
        if self.size == 1:
            return numbers
        trained = [one for one in parameters if one.requires_grad]
        # On the CPU, while the GPU still computes the gradients.
        found = self._sum(torch.tensor([one.grad is not None for one in trained], dtype=torch.int32))
        gradients = [self._gradient(one) for one, count in zip(trained, found.tolist(), strict=True) if count]
        if gradients:
            sums = self._sum(torch.cat([one.reshape(-1) for one in gradients]))
            pieces = sums.split([one.numel() for one in gradients])
            torch._foreach_copy_(
                gradients, [piece.view_as(one) for piece, one in zip(pieces, gradients, strict=True)]
            )
        numbers = self._sum(numbers.clone())
        self._wait(numbers.device)
        return numbers

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        if parameter.grad is None:
            if parameter not in self.zeros:
                self.zeros[parameter] = torch.zeros_like(parameter)
            parameter.grad = self.zeros[parameter].zero_()
        return parameter.grad

    def _sum(self, values: Tensor) -> Tensor:
        try:
            dist.all_reduce(values)
        except RuntimeError as error:
            raise LostError(str(error)) from error
        return values

    def _wait(self, device: torch.device) -> None:
        """Poll the GPU, which would wait forever for the share of a rank that has exited."""
        if device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        while not event.query():
            self.alert()
            time.sleep(5e-5)
