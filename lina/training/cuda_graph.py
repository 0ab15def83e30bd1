"""Capture of a function in a CUDA graph, whose kernels the host launches at once instead of one by one."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

R = TypeVar("R")
Place = Callable[[Sequence[Tensor], torch.device], tuple[Tensor, ...]]

EAGER_CALLS = 3
"""Warm-up calls before the capture, in which libraries choose algorithms and allocate memory."""


class CapturedFunction(Generic[R]):
    """A function of tensors of fixed shapes, captured once on a GPU and replayed from then on.

    It may run backward passes: ``parameters`` then hold the gradients of the last call alone. It must not synchronize
    with the GPU nor draw from a generator other than the device's default. The result of a replay is overwritten by
    the next replay, of this function or of another that shares its memory ``pool``.
    """

    def __init__(
        self,
        function: Callable[..., R],
        parameters: Sequence[nn.Parameter],
        device: torch.device | None,
        pool: Any = None,
        eager_calls: int = EAGER_CALLS,
        place: Place | None = None,
    ) -> None:
        """Nothing is captured yet.

        Args:
            device: the GPU; None calls the function eagerly, as the first ``eager_calls`` always do.
            place: makes tensors on the GPU that hold the inputs, and are overwritten by those of later calls.
        """
        self.function, self.parameters, self.device, self.pool = function, parameters, device, pool
        self.eager_calls, self.place = eager_calls, place or _copies
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.gradients: list[Tensor | None] = []
        """Gradients of the captured pass, rewritten by every replay."""
        self.result: R

    def __call__(self, *inputs: Tensor) -> R:
        self.calls += 1
        if self.device is None:
            self._clear_gradients()
            return self.function(*inputs)
        if self.calls <= self.eager_calls:
            return self._run_on_side_stream(inputs)
        if self.graph is None:
            self._capture(inputs)
        for static, value in zip(self.inputs, inputs, strict=True):
            static.copy_(value, non_blocking=True)
        assert self.graph is not None
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.result

    @property
    def fails_to_capture(self) -> bool:
        """True after an error in the call that was to capture it."""
        return self.device is not None and self.graph is None and self.calls > self.eager_calls

    def release(self) -> None:
        """Give the memory of the graph back."""
        self.graph, self.inputs, self.gradients = None, (), []
        if hasattr(self, "result"):
            del self.result

    def _clear_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _run_on_side_stream(self, inputs: tuple[Tensor, ...]) -> R:
        """Run eagerly on a side stream, as PyTorch requires before a capture."""
        assert self.device is not None
        self._clear_gradients()
        stream, current = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            result = self.function(*self.place(inputs, self.device))
        current.wait_stream(stream)
        return result

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        assert self.device is not None
        self._clear_gradients()
        self.inputs = self.place(inputs, self.device)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile: the one that pins coming batches allocates page-locked memory.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            self.result = self.function(*self.inputs)
        self.graph = graph
        self.gradients = [parameter.grad for parameter in self.parameters]


def _copies(inputs: Sequence[Tensor], device: torch.device) -> tuple[Tensor, ...]:
    return tuple(tensor.to(device, copy=True) for tensor in inputs)
