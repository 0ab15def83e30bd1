"""Products with 8-bit weights in onnxruntime: its operator MatMulNBits, for the rows of ``lina export``. No torch.

Weights keep one scale per row (``lina.runs.weight_quantization``). Activations are rounded to 8 bits per row and block
of ``BLOCK`` channels within the operator, so a loud row does not touch its neighbors.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 64
"""Channels that share a scale of activations; the operator wants a power of two, at least 16."""
SMALLEST_BLOCK = 16
FEWEST_NUMBERS = 4096
"""Smaller matrices stay in float32."""
TOLERANCE = 0.02
"""Relative error of a product of 8-bit numbers that counts as rounding; a saturated sum is off by half."""

Array = npt.NDArray[Any]


def block_size(channels: int) -> int:
    """Channels per block of a matrix with so many channels."""
    return BLOCK if channels >= BLOCK else max(SMALLEST_BLOCK, 1 << (channels - 1).bit_length())


def is_large(rows: int, channels: int) -> bool:
    """A matrix that is worth 8-bit products."""
    return rows * channels >= FEWEST_NUMBERS and channels >= SMALLEST_BLOCK


def blocks_of(weight: Array) -> tuple[Array, Array]:
    """Round a matrix [N, K] per row: the blocks [N, B, size] as the operator wants them (128 is 0), and their scales.

    A matrix that was stored in 8 bits per row gets its stored numbers back.
    """
    rows, channels = weight.shape
    size = block_size(channels)
    count = -(-channels // size)
    scale = np.abs(weight).max(axis=1) / np.float32(127)
    divisor = np.where(scale == 0, np.float32(1), scale)[:, None]
    blocks = np.full((rows, count * size), 128, np.uint8)
    blocks[:, :channels] = (np.rint(weight / divisor).clip(-127, 127) + 128).astype(np.uint8)
    return blocks.reshape(rows, count, size), np.repeat(scale[:, None], count, 1).astype(np.float32)


def saturates(product: Any) -> bool:
    """Check this processor: sums of the largest 8-bit products, which some kernels without VNNI cut at 16 bits.

    ``product``: maps [1, K] of ones to the sums of a matrix whose rows are all 127 and all -127 (scale 1 / 127).
    """
    channels = 2 * BLOCK
    found = np.asarray(product(np.ones((1, channels), np.float32)))[0]
    expected = np.array([channels, -channels], np.float32)
    return bool(np.abs(found - expected).max() > TOLERANCE * channels)
