"""Storage of weights: as trained, or smaller for exported voices.

``int8`` rounds symmetrically with one scale per row (Jacob et al. 2018, arXiv 1712.05877, section 2.1, with zero point
0): value = scale * stored, scale = the row's largest magnitude / 127. A row is the last axis, so each output channel
of a linear layer and each entry of an embedding table has its own scale; the scales of ``name`` are ``name|scale``.
``bfloat16`` stores the same matrices in bfloat16. All other tensors keep their dtype.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lina.core.errors import CheckpointError

AS_TRAINED = "float32"
LAYOUTS = ("int8", "bfloat16", AS_TRAINED)
FEWEST_NUMBERS = 4096
"""Smaller tensors are not quantized."""
SHORTEST_ROW, SHORTEST_ROW_OF_OTHERS = 16, 32
"""Minimum row length of a layer's ``weight``, and of other matrices. Matrices with short rows are rates of a state,
such as Mamba's A_log, whose errors accumulate over time; weights with short rows are convolutions."""

SCALE = "|scale"
_PLAIN = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
"""Dtypes of tensors that are stored as they are."""


def pack(tensors: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Convert tensors to ``layout``.

    Raises:
        CheckpointError: a weight is NaN or infinite.
    """
    packed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if layout == AS_TRAINED or not _is_large(name, value):
            packed[name] = value
        elif layout == "bfloat16":
            packed[name] = value.to(torch.bfloat16)
        else:
            packed[name], packed[name + SCALE] = _rounded(name, value.float())
    return packed


def unpack(tensors: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Inverse of ``pack`` up to rounding, in float32. Removes the tensors from ``tensors`` to save memory.

    Raises:
        CheckpointError: scales are missing or have another shape, or a dtype is not one of the layout.
    """
    if layout == AS_TRAINED:
        return tensors
    unpacked: dict[str, Tensor] = {}
    for name in [name for name in tensors if not name.endswith(SCALE)]:
        value = tensors.pop(name)
        if value.dtype == torch.int8 and layout == "int8":
            scale = tensors.pop(name + SCALE, None)
            if scale is None or scale.shape != value.shape[:-1] or scale.dtype != torch.float32:
                there = "no scales" if scale is None else f"scales of shape {list(scale.shape)}"
                raise CheckpointError(
                    f"{name} of shape {list(value.shape)} has {there}; one per row is needed"
                )
            value = value.float().mul_(scale.unsqueeze(-1))
        if value.dtype not in _PLAIN and not (value.dtype == torch.bfloat16 and layout == "bfloat16"):
            dtype = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{name} is {dtype}, which weights in layout {layout} are not")
        unpacked[name] = value.float() if value.is_floating_point() else value
    return unpacked


def _is_large(name: str, value: Tensor) -> bool:
    shortest = SHORTEST_ROW if ".weight" in f".{name}" else SHORTEST_ROW_OF_OTHERS
    matrix = value.is_floating_point() and value.dim() >= 2
    return matrix and value.numel() >= FEWEST_NUMBERS and value.shape[-1] >= shortest


def _rounded(name: str, value: Tensor) -> tuple[Tensor, Tensor]:
    scale = value.abs().amax(dim=-1) / 127
    if not bool(torch.isfinite(scale).all()):
        raise CheckpointError(f"{name}: holds NaN or infinity; train again from an earlier checkpoint")
    # The scale of a row of zeros is arbitrary.
    divisor = scale.masked_fill(scale == 0, 1.0).unsqueeze(-1)
    return (value / divisor).round_().clamp_(-127, 127).to(torch.int8), scale
