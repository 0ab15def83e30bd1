"""Fused kernels of gated linear attention: flash-linear-attention's Triton kernels."""

from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from lina.core.ops.segments import run_segments

SHORT = 64
"""Up to this many frames the recurrent kernel is as fast, in full float32, and needs next to no autotuning."""

FORGOTTEN = -30.0
"""Lower bound of log-decays: e^-30 of a memory is lost in float32 anyway. The kernels subtract cumulative sums of
log-decays, which lose their digits for larger ones, and gradients of a closed gate are rounding errors, which a
log-decay of -1e4 amplifies.
"""


def gated_linear_attention(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H K"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """The operator of this name in ``lina.core.ops`` on a GPU; float32 inputs go through TF32 units."""
    from fla.ops.gla import chunk_gla, fused_recurrent_gla

    if starts is not None:
        kernel = partial(chunk_gla, scale=scale, output_final_state=True)
        return run_segments(kernel, memory.float(), starts, q=q, k=k, v=v, g=log_decay)
    operator = chunk_gla if q.shape[1] > SHORT else fused_recurrent_gla
    return operator(  # type: ignore[no-any-return]
        q, k, v, log_decay, scale=scale, initial_state=memory.float(), output_final_state=True
    )
