"""Count the torch calls of a module, and the numbers that they write; the law of constant cost.

Calls from Python are counted, since they cost time on every machine: an LSTM in one call is one operation, although
its kernel loops over time; a loop in Python is many.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from lina.core.laws.law import Violation
from lina.core.laws.stream import (
    Stream,
    clone,
)


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


def constant_cost(stream: Stream) -> None:
    """Step 1,000 costs what step 10 costs; parallel_forward is linear in time and no loop over frames.

    Counted are calls issued from Python and numbers written. Over 1,024 frames both are at most 20 times
    those over 64. No loop over frames: of the stretches of 49 to 64 frames at most 4 issue more calls than
    the stretch one frame shorter.
    """
    x = stream.input(1_024, batch=1)
    with torch.no_grad():
        state = stream.module.initial_state(1)
        _, state_at_10 = stream.parallel(x[:, :9], clone(state))
        _, state_at_1000 = stream.parallel(x[:, :999], clone(state))
    with torch.no_grad():
        stream.step(x[:, 9], clone(state_at_10))  # what a first call allocates is no cost of a step
    at_10 = cost(lambda: stream.step(x[:, 9], state_at_10))
    at_1000 = cost(lambda: stream.step(x[:, 999], state_at_1000))
    if at_10 != at_1000:
        raise Violation(f"step 1,000 must cost what step 10 costs: expected {at_10}, found {at_1000}")

    def over(frames: int) -> tuple[int, int]:
        spent = cost(lambda: stream.parallel(x[:, :frames], clone(state)))
        return spent.operations, spent.numbers

    for what, short, long in zip(("operations", "numbers"), over(64), over(1_024), strict=True):
        if long > 20 * short:
            raise Violation(
                f"parallel_forward over 1,024 frames takes {long:,} {what}, over 64 frames {short:,}: "
                f"expected at most 20 times as many, found {long / short:.0f} times"
            )
    operations = [over(frames)[0] for frames in range(48, 65)]
    growths = sum(more > fewer for fewer, more in pairwise(operations))
    if growths > 4:
        raise Violation(
            f"parallel_forward is a loop over frames: from 48 to 64 frames its operations grow from "
            f"{operations[0]} to {operations[-1]}, with {growths} frames of 16; expected at most 4"
        )
