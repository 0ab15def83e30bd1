"""The law of causality: no change of the future and no gradient crosses the present."""

import torch
from torch import Tensor

from lina.core.laws.compare import require_as_good
from lina.core.laws.running import forward, input_for, yardsticks
from lina.core.laws.stream import (
    Frames,
    Stream,
    parallel,
)
from lina.core.state import State


def causality(stream: Stream) -> None:
    """A change of the future, or a gradient from the past, does not cross the present, in training mode either."""
    x, state = stream.input(), stream.random_state()
    truth, whole = yardsticks(stream, forward, parallel, x, state)
    total = x.shape[1]
    for cut in sorted({1, total // 4, total // 2 + 1, total - 1}):
        future = stream.strange_frames(x.shape[0], total - cut, stream.generator(5))
        changed = torch.cat([x[:, :cut], future], dim=1)
        found = forward(stream, parallel, changed, state)
        past, whole_past, true_past = (
            {"y": outcome["outputs"]["y"][:, :cut]} for outcome in (found, whole, truth)
        )
        label = f"outputs before frame {cut}, after a change from that frame on:"
        require_as_good(label, past, whole_past, true_past, stream.dtype)
        if stream.differentiable:
            _require_no_gradient_from_past(stream, x, state, cut)
    if stream.differentiable:
        rounding = whole["outputs"]["y"].double() - truth["outputs"]["y"]
        _require_causality_in_training(stream, x, state, total // 2 + 1, rounding)


def _require_causality_in_training(
    stream: Stream, x: Frames, state: State, cut: int, rounding: Tensor
) -> None:
    """``rounding`` is the error of the outputs in evaluation mode; the truth of training mode is not computed."""
    future = stream.strange_frames(x.shape[0], x.shape[1] - cut, stream.generator(5))
    pasts = []
    for frames in (x, torch.cat([x[:, :cut], future], dim=1)):
        with stream.training():
            pasts.append({"y": forward(stream, parallel, frames, state)["outputs"]["y"][:, :cut]})
    label = f"in training mode, outputs before frame {cut}, after a change from that frame on:"
    expected = pasts[0]["y"].double()
    rounded = {"y": expected + rounding[:, :cut]}
    require_as_good(label, pasts[1], rounded, {"y": expected}, stream.dtype)


def _require_no_gradient_from_past(stream: Stream, x: Frames, state: State, cut: int) -> None:
    source = input_for(stream, x).requires_grad_()
    y, _ = stream.parallel(source, stream.own_state(state))
    past = y[:, :cut].double()
    weights = torch.randn(past.shape, generator=stream.generator(8), dtype=torch.float64).to(past.device)
    (gradient,) = torch.autograd.grad((past * weights).sum(), [source])
    nothing = torch.zeros_like(gradient)
    exact = torch.cat([gradient[:, :cut], nothing[:, cut:]], dim=1)
    label = f"gradient of the outputs before frame {cut} with respect to all input:"
    require_as_good(label, {"x": gradient}, {"x": exact}, {"x": exact.double()}, stream.dtype)
