"""State of a layer of RWKV-6 or RWKV-7."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class RWKVState(NamedTuple):
    """Of one layer."""

    time_shift: Float[Tensor, "B D"]
    """Previous input of time mixing."""
    memory: Float[Tensor, "B H K V"]
    channel_shift: Float[Tensor, "B D"]
    """Previous input of channel mixing."""


def empty_state(bonus: Float[Tensor, "H K"], d_model: int, batch: int) -> RWKVState:
    """State before the first frame; heads, channels and device are those of the layer's ``bonus``."""
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
    """State after the inputs ``seen`` of time mixing and ``refined`` of channel mixing."""
    dtype = state.time_shift.dtype
    # Copies, so that the state does not keep the whole input alive.
    time_shift, channel_shift = (frames[:, -1].to(dtype, copy=True) for frames in (seen, refined))
    return RWKVState(time_shift, memory, channel_shift)
