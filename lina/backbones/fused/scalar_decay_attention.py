"""Fused kernels of linear attention with one decay per head: flash-linear-attention's Triton kernels.

(MIT; Yang & Zhang 2024. There it is called simple GLA; Mamba-2 and retention are this operator.)
"""

from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from lina.backbones.fused import flash_linear_attention
from lina.backbones.fused import gated_linear_attention as fused_gla
from lina.core.ops.segments import run_segments

SHORT = 64
"""Up to this many frames the recurrent kernel is as fast, in full float32, and needs next to no autotuning."""


def scalar_decay_attention(
    q: Float[Tensor, "B T G K"],
    k: Float[Tensor, "B T G K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """The operator of this name in ``lina.core.ops`` on a GPU; float32 inputs go through TF32 units."""
    each = v.shape[2] // q.shape[2]
    if each > 1:  # the kernels support no groups
        q, k = (tensor.repeat_interleave(each, dim=2) for tensor in (q, k))
    log_decay = log_decay.clamp(min=fused_gla.FORGOTTEN)
    if flash_linear_attention.shared_decays_are_wrong():
        each_channel = log_decay[..., None].expand(q.shape)
        return fused_gla.gated_linear_attention(q, k, v, each_channel, memory, scale, starts)
    from fla.ops.simple_gla import chunk_simple_gla, fused_recurrent_simple_gla

    if starts is not None:
        kernel = partial(chunk_simple_gla, scale=scale, output_final_state=True)
        return run_segments(kernel, memory.float(), starts, q=q, k=k, v=v, g=log_decay)
    operator = chunk_simple_gla if q.shape[1] > SHORT else fused_recurrent_simple_gla
    return operator(  # type: ignore[no-any-return]
        q, k, v, g=log_decay, scale=scale, initial_state=memory.float(), output_final_state=True
    )
