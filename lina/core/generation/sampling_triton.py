"""The Triton kernel of ``lina.core.generation.sampling``: one program draws one token, without sorting.

The k-th largest logit, and the smallest probability that top-p keeps, are found by bisection over the bits of the
logits; the draw is the largest sum of log-probability and Gumbel noise, in float64.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lina.core.generation import counter_random
from lina.core.generation.settings import GREEDY
from lina.core.ops.operator import operator

LIKELIEST = tl.constexpr(GREEDY)
GOLDEN, FIRST, SECOND = (
    tl.constexpr(number) for number in (counter_random.GOLDEN, counter_random.FIRST, counter_random.SECOND)
)


@triton.jit
def shift_right(bits, by: tl.constexpr):
    """Without the sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


@triton.jit
def gumbel(key, token):
    """As ``lina.core.generation.counter_random.gumbel``."""
    bits = key + (token.to(tl.int64) + 1) * GOLDEN
    bits = (bits ^ shift_right(bits, 30)) * FIRST
    bits = (bits ^ shift_right(bits, 27)) * SECOND
    bits = bits ^ shift_right(bits, 31)
    uniform = (shift_right(bits, 11).to(tl.float64) + 0.5) * 1.1102230246251565e-16  # 2^-53
    return -tl.log(-tl.log(uniform))


@triton.jit
def sample_kernel(
    logits,
    allowed,
    temperature,
    top_k,
    top_p,
    keys,
    out,
    tokens,
    row_stride,
    book_stride,
    books,
    NUCLEUS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per row and codebook."""
    draw = tl.program_id(0)
    place = (draw // books).to(tl.int64) * row_stride + (draw % books) * book_stride
    token = tl.arange(0, BLOCK)
    inside = token < tokens
    x = tl.load(logits + draw.to(tl.int64) * tokens + token, mask=inside, other=float("-inf")).to(tl.float32)
    may = tl.load(allowed + place + token, mask=inside, other=0) != 0
    x = tl.where(may, x, float("-inf"))
    chosen = tl.argmax(x, axis=0)
    heat = tl.load(temperature + draw)
    if heat > LIKELIEST:
        # Integers in the order of the floats.
        bits = x.to(tl.int32, bitcast=True)
        key = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(tl.int64)
        kept = tl.load(top_k + draw)
        low, high = tl.full((), -(2**31), tl.int64), tl.full((), 2**31, tl.int64)
        for _ in range(32):
            middle = (low + high) >> 1
            enough = tl.sum((key >= middle).to(tl.int32), axis=0) >= kept
            low = tl.where(enough, middle, low)
            high = tl.where(enough, high, middle)
        likely = (x - tl.max(x, axis=0)).to(tl.float64) / heat
        keep = (key >= low) & may
        if NUCLEUS:
            weight = tl.where(keep, tl.exp(likely), 0.0)
            # A token stays if those that are likelier hold less than the share.
            share = tl.load(top_p + draw) * tl.sum(weight, axis=0)
            low, high = tl.full((), -(2**31) - 1, tl.int64), tl.full((), 2**31, tl.int64)
            for _ in range(33):
                middle = (low + high) >> 1
                little = tl.sum(tl.where(key > middle, weight, 0.0), axis=0) < share
                high = tl.where(little, middle, high)
                low = tl.where(little, low, middle)
            keep = keep & (key >= high)
        noise = gumbel(tl.load(keys + draw), token)
        chosen = tl.argmax(tl.where(keep, likely + noise, float("-inf")), axis=0)
    tl.store(out + draw, chosen.to(tl.int64))


def _shape(
    logits: Tensor,
    allowed: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    keys: Tensor,
    nucleus: bool,
) -> Tensor:
    return torch.empty(logits.shape[:2], dtype=torch.int64, device=logits.device)


@operator(fake=_shape)
def sample(
    logits: Tensor,
    allowed: Tensor,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    keys: Tensor,
    nucleus: bool,
) -> Tensor:
    """As ``lina.core.generation.sampling.sample``, on a GPU."""
    rows, books, tokens = logits.shape
    out = torch.empty(rows, books, dtype=torch.int64, device=logits.device)
    sample_kernel[(rows * books,)](
        logits.contiguous(),
        allowed.view(torch.uint8),
        temperature,
        top_k,
        top_p,
        keys.contiguous(),
        out,
        tokens,
        allowed.stride(0),
        allowed.stride(1),
        books,
        NUCLEUS=nucleus,
        BLOCK=triton.next_power_of_2(tokens),
        num_warps=8,
    )
    return out
