"""Short depthwise causal convolution over frames, parallel and stepwise: used before the recurrence, as in Mamba.

    y_t = bias + sum_{lag < W} weight[W - 1 - lag] x_{t - lag}

W taps per channel, as in Gu & Dao 2023 (arXiv 2312.00752, section 3.4, where W = 4). The weight has the shape of
``nn.Conv1d(C, C, W, groups=C)``. The state is the tail: the last W - 1 input frames, oldest first.

Shapes: B rows, T frames, C channels, W taps.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def causal_convolution(
    x: Float[Tensor, "B T C"],
    weight: Float[Tensor, "C 1 W"],
    bias: Float[Tensor, "C"] | None,
    tail: Float[Tensor, "B W_minus_1 C"],
    starts: Bool[Tensor, "B T"] | None = None,
) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B W_minus_1 C"]]:
    """Parallel form. ``starts``: frames before which the history counts as zeros.

    Computes in the dtype of its arguments, which must agree.
    """
    frames, width = x.shape[1], weight.shape[-1]
    padded = torch.cat([tail, x], dim=1)
    age = None if starts is None else _frames_since_start(starts)
    out: Tensor = x * weight[:, 0, -1]
    if bias is not None:
        out = out + bias
    for lag in range(1, width):
        earlier = padded[:, width - 1 - lag : width - 1 - lag + frames]
        if age is not None:
            earlier = earlier.masked_fill((age < lag)[..., None], 0.0)
        out = torch.addcmul(out, earlier, weight[:, 0, -1 - lag])
    tail = padded[:, frames:].clone()  # else the state would keep the whole stretch
    if age is not None:
        lags = torch.arange(width - 2, -1, -1, device=x.device)
        tail = tail.masked_fill((age[:, -1:] < lags)[..., None], 0.0)
    return out, tail


def causal_convolution_step(
    x: Float[Tensor, "B C"],
    weight: Float[Tensor, "C 1 W"],
    bias: Float[Tensor, "C"] | None,
    tail: Float[Tensor, "B W_minus_1 C"],
) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B W_minus_1 C"]]:
    """One frame of the same."""
    window = torch.cat([tail, x[:, None]], dim=1)
    out = (window * weight[:, 0].T).sum(1)
    return out if bias is None else out + bias, window[:, 1:]


def _frames_since_start(starts: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Frames since the last start (0 at the start itself); larger than any lag where there was none."""
    frames = torch.arange(starts.shape[1], device=starts.device)
    last = torch.where(starts, frames, -(2**31)).cummax(dim=1).values
    return frames - last
