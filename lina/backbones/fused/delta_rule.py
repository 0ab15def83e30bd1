"""The fast form of RWKV-7's delta rule: flash-linear-attention's Triton kernels."""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

STRONGEST_DECAY = math.exp(-0.5)
"""RWKV-7's log-decays are never below minus this; knowing a bound, the kernel can use tensor cores in the chunks."""
SHORT = 32
"""Up to this many frames the recurrent kernel is as fast and in full float32; it has no backward pass."""


def delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    a: Float[Tensor, "B T H K"],
    b: Float[Tensor, "B T H K"],
    log_decay: Float[Tensor, "B T H K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``lina.core.ops.delta_rule.delta_rule``, on a GPU, for log-decays that RWKV-7 can have.

    Float32 inputs go through TF32 units, and those of the inverse within a chunk through float16.
    """
    from fla.ops.rwkv7 import chunk_rwkv7, fused_recurrent_rwkv7

    tracked = any(tensor.requires_grad for tensor in (q, k, v, a, b, log_decay, memory))
    short = q.shape[1] <= SHORT and not (torch.is_grad_enabled() and tracked)
    operator = fused_recurrent_rwkv7 if short else partial(chunk_rwkv7, lower_bound=-STRONGEST_DECAY)
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
