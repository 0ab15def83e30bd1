"""A step as one CUDA graph: hundreds of small kernels whose launching would take several times as long as they do."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

R = TypeVar("R")

EAGER_CALLS = 3
"""Before a graph is captured, libraries must have chosen their algorithms and taken their memory."""


class Captured(Generic[R]):
    """``function`` of tensors, whose shapes never change, on a GPU captured once and replayed from then on.

    It may run backward passes; ``forget`` is called before each call that is not a replay, and has to set all
    gradients to None: the captured pass then has gradients of its own, which every replay writes anew. Nothing in it
    may wait for the GPU or draw from a generator. What a replay returns is overwritten by the next one.
    """

    def __init__(
        self, function: Callable[..., R], forget: Callable[[], None], device: torch.device | None
    ) -> None:
        """``device`` is the GPU; None to call the function as it is."""
        self.function, self.forget, self.device = function, forget, device
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.result: R

    def __call__(self, *inputs: Tensor) -> R:
        self.calls += 1
        if self.device is None:
            self.forget()
            return self.function(*inputs)
        if self.calls <= EAGER_CALLS:
            return self._beside(inputs)
        if self.graph is None:
            self._capture(inputs)
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        assert self.graph is not None
        self.graph.replay()
        return self.result

    def _beside(self, inputs: tuple[Tensor, ...]) -> R:
        """On a stream of its own, as PyTorch wants it before a capture."""
        self.forget()
        stream, here = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            result = self.function(*inputs)
        here.wait_stream(stream)
        return result

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        self.forget()
        self.inputs = tuple(tensor.clone() for tensor in inputs)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = self.function(*self.inputs)
