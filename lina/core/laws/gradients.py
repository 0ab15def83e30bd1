"""The law of backward passes of backbones. It is checked on a CPU, so it takes no part in the results of GPUs."""

import torch

from lina.core.laws.backbone import BackboneStream
from lina.core.laws.compare import require_equal
from lina.core.laws.law import NotApplicable
from lina.core.laws.running import with_gradients
from lina.core.laws.stream import Stream, parallel
from lina.core.laws.stream_laws import stream_law


def gradients_repeat(stream: Stream) -> None:
    """Two backward passes from the same inputs give the same gradients, bit for bit (checked on a CPU)."""
    if torch.device(stream.device).type != "cpu":
        raise NotApplicable("kernels of a GPU may add up in any order, so it is checked on a CPU")
    x, state = stream.input(), stream.random_state()
    first, again = (with_gradients(stream, parallel, x, state) for _ in range(2))
    if not torch.equal(first["outputs"]["y"], again["outputs"]["y"]):
        return  # the forward pass is to blame, and step_is_pure reports it
    for group, gradients in first.items():
        if group.startswith("gradient"):
            label = f"{group}, by a second backward pass from the same inputs:"
            require_equal(label, again[group], gradients)


GRADIENTS_REPEAT = stream_law(gradients_repeat, BackboneStream, (torch.float32,))
