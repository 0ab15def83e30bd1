"""A step as one CUDA graph: hundreds of small kernels whose launching would take several times as long as they do."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

R = TypeVar("R")

EAGER_CALLS = 3
"""Before a graph is captured, libraries must have chosen their algorithms and taken their memory."""


class Captured(Generic[R]):
    """``function`` of tensors, whose shapes never change, on a GPU captured once and replayed from then on.

    It may run backward passes: the gradients of ``parameters`` are then those of the last call alone. Nothing in it
    may wait for the GPU, or draw from another generator than the device's own. What a replay returns is overwritten
    by the next one, of this or of another that shares its ``pool`` of memory.
    """

    def __init__(
        self,
        function: Callable[..., R],
        parameters: Sequence[nn.Parameter],
        device: torch.device | None,
        pool: Any = None,
        eager_calls: int = EAGER_CALLS,
    ) -> None:
        """``device`` is the GPU; None to call the function as it is, as the first ``eager_calls`` always are."""
        self.function, self.parameters, self.device, self.pool = function, parameters, device, pool
        self.eager_calls = eager_calls
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.gradients: list[Tensor | None] = []
        """The captured pass has gradients of its own, which every replay writes anew."""
        self.result: R

    def __call__(self, *inputs: Tensor) -> R:
        self.calls += 1
        if self.device is None:
            self._forget()
            return self.function(*inputs)
        if self.calls <= self.eager_calls:
            return self._beside(inputs)
        if self.graph is None:
            self._capture(inputs)
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given, non_blocking=True)
        assert self.graph is not None
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.result

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _beside(self, inputs: tuple[Tensor, ...]) -> R:
        """On a stream of its own, as PyTorch wants it before a capture."""
        assert self.device is not None
        self._forget()
        stream, here = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            result = self.function(*(tensor.to(self.device) for tensor in inputs))
        here.wait_stream(stream)
        return result

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        assert self.device is not None
        self._forget()
        self.inputs = tuple(tensor.to(self.device, copy=True) for tensor in inputs)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=self.pool):
            self.result = self.function(*self.inputs)
        self.gradients = [parameter.grad for parameter in self.parameters]
