"""An operator with a memory, and its outputs, memory and gradients against another's."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def with_gradients(operator: Callable[..., Any], tensors: Sequence[Tensor], *inputs: Any) -> list[Tensor]:
    """Outputs, final memory and the gradients of all ``tensors``, through both results."""
    arguments = [tensor.clone().requires_grad_() for tensor in tensors]
    results = operator(*arguments, *inputs)
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in results]
    loss = sum((t * weight).sum() for t, weight in zip(results, weights, strict=True))
    return [*(t.detach() for t in results), *torch.autograd.grad(loss, arguments)]


def assert_near(got: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    """The largest difference, over the largest number if that is above 1."""
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        assert bool(one.isfinite().all()), f"outputs, memory, gradients in order: number {index}"
        error = (one.double() - other.double()).abs().max() / other.double().abs().max().clamp(min=1.0)
        assert float(error) <= tolerance, (
            f"outputs, memory, gradients in order: number {index}: {float(error)}"
        )
