"""Limit on the numbers that a model of a foreign spec may allocate, before it allocates them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from lina.core.errors import SpecError

_FACTORIES: frozenset[Callable[..., Any]] = frozenset(
    (
        *(torch.empty, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn),
        *(torch.arange, torch.linspace, torch.logspace, torch.randint, torch.randperm, torch.empty_strided),
    )
)
_OF_A_DEVICE = ("device", "generator", "out", "pin_memory")
SPARE = 16_000_000
"""Numbers beside the weights: buffers and tables that no file holds."""


class TooLargeError(SpecError):
    """A model would be larger than its weights; the message names no file."""


class AllocationLimit(TorchFunctionMode):
    """Within it, tensors of at most ``stored`` numbers, twice, and ``SPARE`` more can be created.

    A spec of 500 bytes may set a width of 65,536. Its weights file says how large the model really is, so memory is
    bounded by the size of the files.

    Raises:
        TooLargeError: from the call that would create one tensor too many.
    """

    def __init__(self, stored: int) -> None:
        super().__init__()
        self.stored = stored
        self._left = 2 * stored + SPARE

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _FACTORIES:
            plain = {name: value for name, value in options.items() if name not in _OF_A_DEVICE}
            sketch = func(*args, **plain, device="meta")
            self._left -= sketch.numel()
            if self._left < 0:
                raise TooLargeError(
                    f"the model of the spec is larger than its weights, which have {self.stored:,} numbers"
                )
        return func(*args, **options)
