"""Fused kernels of the delta rule, RWKV-7's and gated: flash-linear-attention's Triton kernels."""

import math
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lina.backbones.fused import flash_linear_attention
from lina.core.ops.segments import run_segments

STRONGEST_DECAY = math.exp(-0.5)
"""Lower bound of RWKV-7's log-decays, negated; the kernel needs a bound to use tensor cores in the chunks."""
SHORT = 32
"""Up to this many frames the recurrent kernels are as fast and in full float32; they have no backward pass."""

FORGOTTEN = -30.0
"""Lower bound of log-decays: e^-30 of a memory is lost in float32 anyway, and stronger ones leave the gated kernels'
gradients without digits."""


def delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``lina.core.ops.delta_rule.delta_rule``, on a GPU, for log-decays in RWKV-7's range.

    Float32 inputs go through TF32 units, and those of the inverse within a chunk through float16.
    """
    from fla.ops.rwkv7 import chunk_rwkv7, fused_recurrent_rwkv7

    chunks = partial(chunk_rwkv7, lower_bound=-STRONGEST_DECAY)
    if starts is not None:
        kernel = partial(chunks, scale=scale, output_final_state=True)
        return run_segments(kernel, memory.float(), starts, r=q, w=log_decay, k=k, v=v, a=a, b=b)
    tracked = any(tensor.requires_grad for tensor in (q, k, v, a, b, log_decay, memory))
    short = q.shape[1] <= SHORT and not (torch.is_grad_enabled() and tracked)
    operator = fused_recurrent_rwkv7 if short else chunks
    return operator(  # type: ignore[no-any-return]
        r=q,
        w=log_decay,
        k=k,
        v=v,
        a=a,
        b=b,
        scale=scale,
        initial_state=memory.float(),
        output_final_state=True,
    )


def gated_delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    beta: Float[Tensor, "B T H"],
    log_decay: Float[Tensor, "B T H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``lina.core.ops.delta_rule.gated_delta_rule``, on a GPU; float32 inputs go through TF32 units."""
    log_decay = log_decay.clamp(min=FORGOTTEN)
    tracked = any(tensor.requires_grad for tensor in (q, k, v, beta, log_decay, memory))
    short = starts is None and q.shape[1] <= SHORT and not (torch.is_grad_enabled() and tracked)
    if log_decay.shape[-1] == 1 and not flash_linear_attention.shared_decays_are_wrong():
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule

        operator = fused_recurrent_gated_delta_rule if short else chunk_gated_delta_rule
        log_decay = log_decay.squeeze(-1)
    else:
        from fla.ops.kda import chunk_kda, fused_recurrent_kda

        log_decay = log_decay.expand(q.shape)
        operator = fused_recurrent_kda if short else chunk_kda
    if starts is not None:
        kernel = partial(operator, scale=scale, output_final_state=True)
        return run_segments(kernel, memory.float(), starts, q=q, k=k, v=v, g=log_decay, beta=beta)
    return operator(  # type: ignore[no-any-return]
        q=q,
        k=k,
        v=v,
        g=log_decay,
        beta=beta,
        scale=scale,
        initial_state=memory.float(),
        output_final_state=True,
    )
