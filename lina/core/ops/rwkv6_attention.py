"""Attention of RWKV-6, which reads before it writes, with a bonus for the present frame: reference forms.

    o_t = (S_{t-1} + diag(bonus) k_t v_t^T)^T r_t        S_t = diag(exp(log_decay_t)) S_{t-1} + k_t v_t^T

(Peng et al. 2024, "Eagle and Finch", arXiv 2404.05892, eqs. 19 and 20: RWKV-6.) Its memory is that of gated linear
attention, and frame t reads it as gated linear attention reads at frame t - 1 with the query of frame t.

Shapes: B rows, T frames, H heads, K key channels, V value channels per head.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from lina.core.ops.gated_linear_attention import gated_linear_attention


def rwkv6_attention(
    r: Float[Tensor, "B T H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    log_decay: Float[Tensor, "B T H K"],
    bonus: Float[Tensor, "H K"],
    memory: Float[Tensor, "B H K V"],
    starts: Bool[Tensor, "B T"] | None = None,
    inner: Callable[..., tuple[Tensor, Tensor]] = gated_linear_attention,
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H K V"]]:
    """Parallel form; ``log_decay`` <= 0. At ``starts`` the memory is empty before that frame.

    ``inner`` is gated linear attention, reference or fused. Computes in the dtype of the arguments, which must agree.
    """
    own = (r * bonus * k).sum(-1, keepdim=True) * v
    if starts is not None:
        # Too late for the frame itself: it reads the memory of the frame before.
        r = r.masked_fill(starts[..., None, None], 0.0)
    ahead = F.pad(r[:, 1:], (0, 0, 0, 0, 0, 1))
    read, after = inner(ahead, k, v, log_decay, memory, scale=1.0, starts=starts)
    first = (r[:, 0, :, None] @ memory).transpose(1, 2)
    return torch.cat([first, read[:, :-1]], dim=1) + own, after


def rwkv6_attention_step(
    r: Float[Tensor, "B H K"],
    k: Float[Tensor, "B H K"],
    v: Float[Tensor, "B H V"],
    log_decay: Float[Tensor, "B H K"],
    bonus: Float[Tensor, "H K"],
    memory: Float[Tensor, "B H K V"],
) -> tuple[Float[Tensor, "B H V"], Float[Tensor, "B H K V"]]:
    """Step form: one frame."""
    read = (r[..., None, :] @ memory).squeeze(-2)
    memory = torch.addcmul(memory * log_decay.exp()[..., None], k[..., None], v[..., None, :])
    return read + (r * bonus * k).sum(-1, keepdim=True) * v, memory
