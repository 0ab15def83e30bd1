"""Counts what a module issues, and the numbers it writes.

Python's calls are counted, as those cost time on every machine: an LSTM in one call is one operation, though
its kernel loops over time; a loop in Python is many.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Cost:
    operations: int
    """Calls of torch's functions and methods."""
    numbers: int
    """Elements of the tensors that they made, views not counted: it shows work that hides in large calls."""


class _Counter(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.numbers = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "__get__":
            return result
        self.operations += 1
        for made in pytree.tree_leaves(result):
            if isinstance(made, Tensor) and made._base is None:
                self.numbers += made.numel()
        return result


def cost(function: Callable[[], Any]) -> Cost:
    """What one call of ``function`` issues, without gradients."""
    counter = _Counter()
    with torch.no_grad(), counter:
        function()
    return Cost(counter.operations, counter.numbers)
