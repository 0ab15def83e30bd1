"""The Triton kernel of ``lina.core.ops.codebook_cross_entropy``: logits are read, and replaced by their gradient."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDEST = 4_096
"""Logits that a program holds at once; a larger codebook is read in several pieces."""


@triton.jit
def cross_entropy_kernel(
    logits,
    offsets,
    targets,
    loss_mask,
    share,
    losses,
    correct,
    stride,
    end,
    CODEBOOKS: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCKS: tl.constexpr,
    WITH_GRADIENT: tl.constexpr,
):
    """One program per codebook of a position: log of the sum, likeliest entry, loss, and then the gradient."""
    place = tl.program_id(0).to(tl.int64)
    row, book = place // CODEBOOKS, place % CODEBOOKS
    first = tl.load(offsets + book)
    last = end + tl.zeros_like(first)
    if book + 1 < CODEBOOKS:
        last = tl.load(offsets + book + 1)
    size = last - first
    own = logits + row * stride + first
    target = tl.load(targets + place)
    counts = tl.load(loss_mask + place) != 0
    column = tl.arange(0, BLOCK)

    highest, total, of_target, likeliest = -float("inf"), 0.0, 0.0, tl.zeros_like(first)
    for block in tl.static_range(BLOCKS):
        at = block * BLOCK + column
        value = tl.load(own + at, mask=at < size, other=-float("inf")).to(tl.float32)
        top = tl.max(value, axis=0)
        where = block * BLOCK + tl.argmax(value, axis=0)
        likeliest = tl.where(top > highest, where, likeliest)
        new = tl.maximum(highest, top)
        total = total * tl.exp(highest - new) + tl.sum(tl.exp(value - new), axis=0)
        highest = new
        of_target += tl.sum(tl.where(at == target, value, 0.0), axis=0)
    log_sum = highest + tl.log(total)
    scale = tl.where(counts, tl.load(share).to(tl.float32), 0.0)
    tl.store(losses + place, tl.where(counts, (log_sum - of_target) * scale, 0.0))
    tl.store(correct + place, (likeliest == target) & counts)
    if WITH_GRADIENT:
        for block in tl.static_range(BLOCKS):
            at = block * BLOCK + column
            value = tl.load(own + at, mask=at < size, other=-float("inf")).to(tl.float32)
            gradient = (tl.exp(value - log_sum) - tl.where(at == target, 1.0, 0.0)) * scale
            tl.store(own + at, gradient.to(logits.dtype.element_ty), mask=at < size)


def differentiate(
    logits: Tensor,
    sizes: Sequence[int],
    offsets: Tensor,
    targets: Tensor,
    loss_mask: Tensor,
    share: Tensor,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """Losses and right predictions of each position and codebook; logits after the last codebook's are left alone."""
    rows, codebooks = targets.shape
    losses = torch.empty(rows, codebooks, dtype=torch.float32, device=logits.device)
    correct = torch.empty(rows, codebooks, dtype=torch.bool, device=logits.device)
    block = min(WIDEST, triton.next_power_of_2(max(sizes)))
    cross_entropy_kernel[(rows * codebooks,)](
        logits,
        offsets,
        targets.contiguous(),
        loss_mask.contiguous().view(torch.uint8),
        share,
        losses,
        correct,
        logits.stride(0),
        sum(sizes),
        CODEBOOKS=codebooks,
        BLOCK=block,
        BLOCKS=triton.cdiv(max(sizes), block),
        WITH_GRADIENT=with_gradient,
        num_warps=4 if block <= 2_048 else 8,
    )
    return losses, correct
