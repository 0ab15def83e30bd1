"""The fast form of RWKV-6's attention: flash-linear-attention's Triton kernels."""

import torch
from jaxtyping import Float
from torch import Tensor

SHORT = 64
"""Up to this many frames the recurrent kernel is as fast, in full float32, and needs next to no autotuning."""

FORGOTTEN = -30.0
"""e^-30 of a memory is lost in float32 anyway, and stronger log-decays leave the kernels' gradients without digits."""


def bonus_attention(
    r: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H K"],
    bonus: Float[Tensor, "H K"],
    memory: Float[Tensor, "B H K V"],
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``lina.core.bonus_attention.bonus_attention``, on a GPU; float32 inputs go through TF32 units."""
    from fla.ops.rwkv6 import chunk_rwkv6, fused_recurrent_rwkv6

    # The recurrent kernel's backward drops the gradient that comes through the final memory (fla-core 0.6.0).
    tracked = any(tensor.requires_grad for tensor in (r, k, v, log_decay, bonus, memory))
    short = r.shape[1] <= SHORT and not (torch.is_grad_enabled() and tracked)
    operator = fused_recurrent_rwkv6 if short else chunk_rwkv6
    return operator(  # type: ignore[no-any-return]
        r,
        k,
        v,
        log_decay.clamp(min=FORGOTTEN),
        bonus,
        scale=1.0,
        initial_state=memory.float(),
        output_final_state=True,
    )
