"""Modules whose weights are loaded right after they are built need no random ones before."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

_DRAWING: frozenset[Callable[..., Any]] = frozenset(
    (
        *(Tensor.uniform_, Tensor.normal_, init.uniform_, init.normal_, init.trunc_normal_),
        *(init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_),
    )
)
"""Those of ``torch.nn.init`` may come as one call, within which the mode is off."""


class SkipInit(TorchFunctionMode):
    """Within it, zeros are drawn in place of random numbers, in a fraction of the time.

    Not left undrawn: ``torch.nn.init.trunc_normal_`` draws again until all numbers are within its bounds.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _DRAWING:
            tensor: Tensor = args[0] if args else options["tensor"]
            with torch.no_grad():
                return tensor.zero_()
        return func(*args, **options)
