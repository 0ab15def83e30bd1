"""Auxiliary losses of a backbone, such as load balancing of experts or a router's z-loss.

A module calls ``auxiliary_loss`` in its forward pass; training adds the values to the loss. Nothing is kept on modules.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor

_COLLECTED: ContextVar[dict[str, Tensor] | None] = ContextVar("auxiliary losses", default=None)


def auxiliary_loss(name: str, value: Float[Tensor, ""]) -> None:
    """Add ``value`` to the auxiliary loss ``name`` of this micro-batch: nothing outside of training.

    The module scales it by a weight of its own configuration. Layers that share a name are summed.
    """
    collected = _COLLECTED.get()
    # A checkpointed layer computes its forward pass twice, the second time within the backward pass.
    if collected is not None and torch.is_grad_enabled():
        collected[name] = collected[name] + value if name in collected else value


@contextmanager
def collect_auxiliary_losses() -> Iterator[dict[str, Tensor]]:
    """Collect the auxiliary losses of the forward passes within, by name."""
    collected: dict[str, Tensor] = {}
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)
