"""Conversion between the bytes of packed frames and their bit fields, all frames at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def unpack_fields(
    frames: NDArray[np.uint8], widths: Sequence[int], gray: Sequence[bool]
) -> NDArray[np.int64]:
    """Unpack frames [T, bytes] to fields [T, F]: field f is ``widths[f]`` bits, most significant bit first.

    If ``gray[f]``, the field is stored in reflected Gray code and returned as the plain index. Bits after
    the last field are padding and are ignored.
    """
    bits = np.unpackbits(frames, axis=1)
    fields = np.empty((len(frames), len(widths)), dtype=np.int64)
    start = 0
    for field, width in enumerate(widths):
        # Plain bit k of a Gray-coded field is the parity of the stored bits down to k.
        piece = bits[:, start : start + width].astype(np.int64)
        if gray[field]:
            piece = np.cumsum(piece, axis=1) & 1
        fields[:, field] = piece @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))
        start += width
    return fields


def pack_fields(fields: NDArray[np.int64], widths: Sequence[int], gray: Sequence[bool]) -> NDArray[np.uint8]:
    """Pack fields [T, F] to frames [T, bytes]: the inverse of ``unpack_fields``, padded with zero bits."""
    pieces = []
    for field, width in enumerate(widths):
        value = fields[:, field]
        stored = value ^ (value >> 1) if gray[field] else value
        shifts = np.arange(width - 1, -1, -1, dtype=np.int64)
        pieces.append(((stored[:, None] >> shifts) & 1).astype(np.uint8))
    return np.packbits(np.concatenate(pieces, axis=1), axis=1)
