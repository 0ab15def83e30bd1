"""Heads, cross-entropy and accuracy of all codebooks in one operator, which never holds the logits of a batch.

Logits of Q codebooks are a hundred times wider than a frame's codes, and training needs of them one number per codebook
and their gradient. So positions are taken in chunks: the product with the heads, the negative log-likelihood, the count
of right predictions and the gradients, after which the chunk's logits are dropped. The backward pass only scales what
the forward pass has computed.

Shapes: N positions, D model width, Q codebooks, W entries of all heads side by side.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from lina.core.ops.dispatch import runs_triton

TILE = 64
"""Matrix products on a GPU are fastest in multiples of this."""
IGNORE_INDEX = -100
LOGITS = {"cuda": 1 << 24, "cpu": 1 << 22}
"""Logits per chunk: enough to fill a GPU; few enough for the caches of a CPU."""


def codebook_cross_entropy(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "W D"],
    sizes: Sequence[int],
    offsets: Int[Tensor, "Q"],
    targets: Int[Tensor, "N Q"],
    loss_mask: Bool[Tensor, "N Q"],
) -> tuple[Float[Tensor, ""], Int[Tensor, "Q"]]:
    """Mean negative log-likelihood, in nats, of the targets under ``loss_mask``, and right predictions per codebook.

    Products are in the dtype of ``hidden``, everything after them in float32 or better.

    Args:
        weight: the heads of all codebooks, one after the other.
        sizes: entries of each codebook's head.
        offsets: the first entry of each codebook in ``weight``, on its device.
    """
    arguments = (hidden, weight, tuple(sizes), offsets, targets, loss_mask, torch.is_grad_enabled())
    return _CodebookCrossEntropy.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


class _CodebookCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: Tensor,
        weight: Tensor,
        sizes: tuple[int, ...],
        offsets: Tensor,
        targets: Tensor,
        loss_mask: Tensor,
        differentiable: bool,
    ) -> tuple[Tensor, Tensor]:
        for_hidden, for_weight = (differentiable and needed for needed in context.needs_input_grad[:2])
        fused = runs_triton(hidden.device)
        # Whole tiles of a matrix product; the kernel leaves the zeros behind the last codebook as they are.
        heads = F.pad(weight.to(hidden.dtype), (0, 0, 0, -len(weight) % TILE if fused else 0))
        exact = torch.promote_types(hidden.dtype, torch.float32)
        share = 1 / loss_mask.sum().to(exact)
        loss, right = share.new_zeros(()), torch.zeros_like(offsets)
        grad_hidden = torch.empty_like(hidden) if for_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=exact) if for_weight else None
        rows = max(1, LOGITS.get(hidden.device.type, LOGITS["cuda"]) // weight.shape[0])
        for first in range(0, len(hidden), rows):
            part = slice(first, first + rows)
            logits = hidden[part] @ heads.t()
            differentiate = _differentiate_fused if fused else _differentiate
            added, correct, gradient = differentiate(
                logits, sizes, offsets, targets[part], loss_mask[part], share, for_hidden or for_weight
            )
            loss, right = loss + added, right + correct
            if grad_hidden is not None and gradient is not None:
                torch.matmul(gradient, heads, out=grad_hidden[part])
            if grad_weight is not None and gradient is not None:
                grad_weight += (gradient.t() @ hidden[part])[: len(weight)]
        context.save_for_backward(grad_hidden, grad_weight)
        context.dtype = weight.dtype
        context.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = context.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * gradient.to(grad_hidden.dtype),
            None if grad_weight is None else (grad_weight * gradient).to(context.dtype),
            *(None,) * 5,
        )


def _differentiate(
    logits: Float[Tensor, "N W"],
    sizes: tuple[int, ...],
    offsets: Int[Tensor, "Q"],
    targets: Int[Tensor, "N Q"],
    loss_mask: Bool[Tensor, "N Q"],
    share: Float[Tensor, ""],
    with_gradient: bool,
) -> tuple[Float[Tensor, ""], Int[Tensor, "Q"], Float[Tensor, "N W"] | None]:
    """The chunk's part of the loss and of the counts, and the gradient of ``logits`` if that is asked for."""
    masked = targets.masked_fill(~loss_mask, IGNORE_INDEX)
    right, losses = [], []
    with torch.enable_grad():
        own = logits.detach().requires_grad_(with_gradient)
        # Equal codebooks are one matrix of more rows.
        together = len(set(sizes)) == 1
        parts = [own.view(-1, sizes[0])] if together else own.split(sizes, dim=1)
        for part, target in zip(parts, [masked.flatten()] if together else masked.unbind(1), strict=True):
            exact = part.to(share.dtype)
            right.append(exact.detach().argmax(1) == target)
            losses.append(F.cross_entropy(exact, target, ignore_index=IGNORE_INDEX, reduction="sum"))
        loss = torch.stack(losses).sum() * share
    gradient = torch.autograd.grad(loss, own)[0] if with_gradient else None
    correct = right[0].view_as(targets) if together else torch.stack(right, 1)
    return loss.detach(), correct.sum(0), gradient


def _differentiate_fused(
    logits: Float[Tensor, "N W"],
    sizes: tuple[int, ...],
    offsets: Int[Tensor, "Q"],
    targets: Int[Tensor, "N Q"],
    loss_mask: Bool[Tensor, "N Q"],
    share: Float[Tensor, ""],
    with_gradient: bool,
) -> tuple[Float[Tensor, ""], Int[Tensor, "Q"], Float[Tensor, "N W"] | None]:
    """As ``_differentiate``, in one kernel on a GPU; the gradient takes the place of ``logits``."""
    from lina.core.ops.codebook_cross_entropy_triton import differentiate

    losses, correct = differentiate(logits, sizes, offsets, targets, loss_mask, share, with_gradient)
    return losses.sum().to(share.dtype), correct.sum(0), logits if with_gradient else None
