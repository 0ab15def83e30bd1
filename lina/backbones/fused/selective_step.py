"""One frame of Mamba's selective scan in place: the algorithm, and where it can run.

    h <- exp(delta A) h + delta u B        y = (C . h + D u) silu(gate)        delta = softplus(size), A = -exp(A_log)

Sums are in float32 whatever the memory is stored in.

Shapes: B rows, D channels, N numbers of state per channel.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def selective_step(
    u: Float[Tensor, "B D"],
    size: Float[Tensor, "B D"],
    a_log: Float[Tensor, "D N"],
    skip: Float[Tensor, "D"],
    selected: Float[Tensor, "B R_plus_2_N"],
    entered: Float[Tensor, "B 2_D"],
    memory: Float[Tensor, "B D N"],
) -> Float[Tensor, "B D"]:
    """The gated output in float32, and ``memory`` advanced in place. On a GPU one kernel, elsewhere PyTorch.

    ``selected`` ends in B and C, ``entered`` in the gate: views of them would be copied before they reach a kernel.
    """
    if memory.device.type == "cuda":
        from lina.backbones.fused.selective_step_triton import selective_step as fused

        return fused(u, size, a_log, skip, selected, entered, memory)
    u, delta = u.float(), F.softplus(size.float())
    numbers = memory.shape[-1]
    b, c = selected[:, -2 * numbers :].float().split(numbers, -1)
    gate = entered[:, -u.shape[-1] :].float()
    kept = memory.float() * (delta[..., None] * -a_log.float().exp()).exp()
    after = torch.addcmul(kept, (delta * u)[..., None], b[:, None])
    memory.copy_(after)
    return torch.addcmul((after @ c[..., None]).squeeze(-1), u, skip.float()) * F.silu(gate)
