"""What a layer of RWKV-6 or RWKV-7 carries from frame to frame."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class RWKVState(NamedTuple):
    """Of one layer."""

    time_shift: Float[Tensor, "B D"]
    """The frame before, as time mixing saw it."""
    memory: Float[Tensor, "B H K V"]
    channel_shift: Float[Tensor, "B D"]
    """The frame before, as channel mixing saw it."""


def empty_state(bonus: Float[Tensor, "H K"], d_model: int, batch: int) -> RWKVState:
    """Before the first frame; heads, channels and device are those of the layer's ``bonus``."""
    (heads, channels), dtype = bonus.shape, torch.promote_types(bonus.dtype, torch.float32)
    shift = torch.zeros(batch, d_model, dtype=dtype, device=bonus.device)
    memory = torch.zeros(batch, heads, channels, channels, dtype=dtype, device=bonus.device)
    return RWKVState(shift, memory, shift.clone())


def state_after(
    state: RWKVState,
    seen: Float[Tensor, "B T D"],
    memory: Float[Tensor, "B H K V"],
    refined: Float[Tensor, "B T D"],
) -> RWKVState:
    """After a stretch of which time mixing saw ``seen`` and channel mixing ``refined``."""
    dtype = state.time_shift.dtype
    # Copies, so that the state does not keep the whole stretch.
    time_shift, channel_shift = (frames[:, -1].to(dtype, copy=True) for frames in (seen, refined))
    return RWKVState(time_shift, memory, channel_shift)
