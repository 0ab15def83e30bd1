"""Weights from safetensors files as float32 arrays. Imports no torch."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, NonNegativeInt, TypeAdapter

from lina.core.errors import CheckpointError
from lina.core.files.json_file import LARGEST, parse_json

SCALE = "|scale"
"""Ending of the scales of a matrix that is stored in 8 bits (``lina.runs.weight_quantization``)."""
KINDS = {"F32": "<f4", "I8": "i1", "BF16": "<u2"}

Array = npt.NDArray[np.float32]


class _Tensor(BaseModel):
    """An entry of a header."""

    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: tuple[NonNegativeInt, NonNegativeInt]


_HEADER = TypeAdapter(dict[str, _Tensor | dict[str, str]])


class StoredWeights:
    """The tensors of one file."""

    def __init__(self, path: Path, prefix: str = "") -> None:
        """``prefix``: the beginning of their names in graphs, which the file leaves out.

        Raises:
            CheckpointError: the file is damaged.
        """
        self.path, self._prefix = path, prefix
        try:
            self._bytes = np.memmap(path, np.uint8, "r")
            length = int.from_bytes(self._bytes[:8].tobytes(), "little")
            if length > min(LARGEST, len(self._bytes) - 8):
                raise ValueError(f"a header of {length} bytes")
            self._header = parse_json(self._bytes[8 : 8 + length].tobytes(), _HEADER)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read as safetensors ({error}); restore it") from None
        self._first = 8 + length

    @property
    def in_8_bits(self) -> bool:
        """Matrices are stored in 8 bits."""
        return any(name.endswith(SCALE) for name in self._header)

    def __call__(self, name: str) -> Array:
        """The tensor of this name in graphs, in float32.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        own = name.removeprefix(self._prefix)
        values, kind = self._read(own)
        if kind == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        if kind == "I8":
            scales, _ = self._read(own + SCALE)
            scaled: Array = values.astype(np.float32) * scales.astype(np.float32)[..., None]
            return scaled
        return values.astype(np.float32, copy=False)

    def _read(self, name: str) -> tuple[npt.NDArray[np.generic], str]:
        try:
            facts = self._header[name]
            if not isinstance(facts, _Tensor):
                raise ValueError("it is no tensor")
            kind, shape, (start, end) = facts.dtype, facts.shape, facts.data_offsets
            dtype = np.dtype(KINDS[kind])
            if end - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{end - start} bytes for {kind} of shape {shape}")
            array = self._bytes[self._first + start : self._first + end].view(dtype).reshape(shape)
        except (KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.path}: tensor {name}: damaged or missing ({error}); restore it"
            ) from None
        return array, kind
