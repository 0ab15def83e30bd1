"""Registration of fused kernels as PyTorch operators, so that torch.compile calls them without looking inside.

By ``torch.library.Library``: ``torch.library.custom_op`` does the same, but imports torch.compile's front end at once,
which takes seconds, also where nothing is compiled.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch.library import Library, infer_schema, register_fake

F = TypeVar("F", bound=Callable[..., Any])

LIBRARY = Library("lina", "FRAGMENT")


def operator(fake: Callable[..., Any], mutates: Sequence[str] = ()) -> Callable[[F], F]:
    """Register a function of tensors as the operator ``lina::NAME``.

    ``fake``: returns tensors of the output's shapes from the same arguments. ``mutates``: arguments written in place.
    """

    def register(function: F) -> F:
        name = function.__name__
        LIBRARY.define(name + infer_schema(function, mutates_args=tuple(mutates)))
        LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        register_fake(f"lina::{name}", fake, lib=LIBRARY)
        return cast(F, getattr(torch.ops.lina, name).default)

    return register
