"""The selective scan through mamba-ssm's CUDA extension (Gu & Dao 2023; Apache-2.0), which starts from a zero state.

Its kernel takes no initial state and has no gradient for the final one. Both are expressed in frames: N frames before
the input write the initial state, one number per channel and frame, with a step so small that nothing decays; N frames
after it neither write nor decay and read the final state. So all gradients are the kernel's own.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

STEP = 2.0**-40
"""Step size of a frame that writes the initial state: for rates down to -1e4, exp(STEP * rate) is 1 in float32."""


@functools.cache
def obstacle() -> str | None:
    """Reason why the kernel cannot run here, with the remedy; None if it can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # noqa: F401
    except Exception as error:
        return (
            f"mamba-ssm does not import ({type(error).__name__}: {error}); "
            "pip install --no-build-isolation 'lina[mamba]' builds it with nvcc, or set fast_form: triton"
        )
    return None


def selective_scan(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    a: Float[Tensor, "D N"],
    b: Float[Tensor, "B T N"],
    c: Float[Tensor, "B T N"],
    skip: Float[Tensor, "D"],
    memory: Float[Tensor, "B D N"],
) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B D N"]]:
    """As ``lina.core.ops.selective_scan.selective_scan``, on a GPU, in float32; the outputs have the dtype of ``u``."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    rows, channels, state = memory.shape
    each = torch.eye(state, device=u.device).expand(rows, -1, -1)
    silent = torch.zeros_like(each)
    still = memory.new_zeros(rows, state, channels)
    frames = (
        torch.cat([memory.transpose(1, 2) / STEP, u.float(), still], 1),
        torch.cat([torch.full_like(still, STEP), delta.float(), still], 1),
        torch.cat([each, b.float(), silent], 1),
        torch.cat([silent, c.float(), each], 1),
    )
    u_all, delta_all, b_all, c_all = (part.transpose(1, 2).contiguous() for part in frames)
    out = selective_scan_fn(u_all, delta_all, a, b_all, c_all, skip)
    y, final = out[..., state:].split([u.shape[1], state], dim=-1)
    return y.transpose(1, 2).to(u.dtype), final
