"""Export of a codec's decoder: one or more frames of one row, as a graph. Needs ``onnx`` and ``onnxscript``."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from lina.core.errors import LinaError
from lina.core.protocols import DecoderStream
from lina.core.state import leaves, named_leaves
from lina.engine.onnx.export import trace, without_weights
from lina.engine.onnx.files import AUDIO, CODEC, CODES, NEXT

STATE = "state."
"""Beginning of the names of the state's leaves in the graph."""


def export_decoder(decoder: DecoderStream, codebooks: int, frames: int = 1) -> Any:
    """The graph of T frames: codes [1, T, Q] and the state to samples [1, C, T * hop] and the next state.

    Raises:
        LinaError: the decoder is no module, so that its weights are not known.
    """
    if not isinstance(decoder, nn.Module):
        raise LinaError(
            f"onnx: the decoder {type(decoder).__name__} is no torch.nn.Module, so it cannot be exported"
        )
    before = decoder.initial_state(1)
    structure = pytree.tree_structure(before)
    names = [STATE + name for name in named_leaves(before)]

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codec = decoder

        def forward(self, codes: Tensor, *leaf_values: Tensor) -> tuple[Tensor, ...]:
            state = pytree.tree_unflatten(list(leaf_values), structure)
            audio, after = self.codec.parallel_forward(codes, state)
            return audio, *(leaf.clone() for leaf in leaves(after))

    inputs = {CODES: torch.zeros(1, frames, codebooks, dtype=torch.int64)}
    inputs |= dict(zip(names, leaves(before), strict=True))
    model = trace(Frames(), inputs, [AUDIO, *(NEXT + name for name in names)])
    return without_weights(model, [f"{CODEC}{name}" for name in decoder.state_dict()])
