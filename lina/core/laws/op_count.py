"""Count the torch calls of a module, and the numbers that they write.

Calls from Python are counted, since they cost time on every machine: an LSTM in one call is one operation, although
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
    """Calls of torch functions and methods."""
    numbers: int
    """Elements of their new tensors, without views: shows work inside large calls."""


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
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf._base is None:
                self.numbers += leaf.numel()
        return result


def cost(function: Callable[[], Any]) -> Cost:
    """Count one call of ``function``, without gradients."""
    counter = _Counter()
    with torch.no_grad(), counter:
        function()
    return Cost(counter.operations, counter.numbers)
