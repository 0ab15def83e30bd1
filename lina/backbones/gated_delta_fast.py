"""The fast form of the gated delta rule: flash-linear-attention's Triton kernels (MIT; Yang & Zhang 2024)."""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

SHORT = 64
"""Up to this many frames the recurrent kernels are as fast and in full float32; they have no backward pass."""


@functools.cache
def obstacle() -> str | None:
    """Why the kernels cannot run here, and what to do; None if they can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        import fla.ops.gated_delta_rule
        import fla.ops.kda  # noqa: F401
    except Exception as error:
        return f"flash-linear-attention does not import ({type(error).__name__}: {error}); pip install 'lina[fla]'"
    return None


def gated_delta_rule(
    q: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    beta: Float[Tensor, "B T H"],
    log_decay: Float[Tensor, "B T H G"],
    memory: Float[Tensor, "B H K V"],
    scale: float,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """As ``lina.core.delta_rule.gated_delta_rule``, on a GPU; float32 inputs go through TF32 units."""
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
    from fla.ops.kda import chunk_kda, fused_recurrent_kda

    tensors = (q, k, v, beta, log_decay, memory)
    trained = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    recurrent = q.shape[1] <= SHORT and not trained
    if log_decay.shape[-1] == 1 < q.shape[-1]:
        operator = fused_recurrent_gated_delta_rule if recurrent else chunk_gated_delta_rule
        log_decay = log_decay.squeeze(-1)
    else:
        operator = fused_recurrent_kda if recurrent else chunk_kda
    return operator(  # type: ignore[no-any-return]
        q=q,
        k=k,
        v=v,
        g=log_decay.contiguous(),
        beta=beta,
        scale=scale,
        initial_state=memory.float(),
        output_final_state=True,
    )
