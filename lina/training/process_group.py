"""Processes that train one model together: each computes some parts of a step, and all get the sums of all.

What is summed is a function of the step alone, so that all processes have the same weights after it, and nothing but
gradients and a few numbers is ever exchanged.
"""

import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from jaxtyping import Float64
from torch import Tensor, nn

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others, one of which may be validating. One that ends is noticed at once."""


class LostError(Exception):
    """Another process of the team does not answer any more."""


class Team:
    """This process among those of its team; the first of them leads. A team of one has nobody to ask."""

    def __init__(self, rank: int = 0, size: int = 1, alert: Callable[[], None] = lambda: None) -> None:
        """``alert`` raises where another process has ended."""
        self.rank, self.size, self.alert = rank, size, alert
        self.zeros: dict[nn.Parameter, Tensor] = {}
        """In place of gradients that only others have; always the same, for a captured update remembers where."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes, validates and tells."""
        return self.rank == 0

    def parts(self, accumulate: int) -> range:
        """Which parts of a step are computed here."""
        return range(self.rank, accumulate, self.size)

    def add(self, parameters: Iterable[nn.Parameter], numbers: Float64[Tensor, "N"]) -> Float64[Tensor, "N"]:
        """Everybody's gradients are summed into those of ``parameters``; gives the sums of ``numbers``.

        A gradient that only some have counts as zeros elsewhere; one that nobody has stays None.

        Raises:
            LostError: another process has ended.
        """
        if self.size == 1:
            return numbers
        trained = [one for one in parameters if one.requires_grad]
        # On the CPU, while a GPU is still working on what is to be summed.
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
        """A GPU would wait for ever for the part of a process that has ended."""
        if device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        while not event.query():
            self.alert()
            time.sleep(5e-5)
