"""A stream of audio of the engine: codes go in on one side, chunks of samples come out."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

Samples = npt.NDArray[np.float32]


class AudioStream:
    """Audio of codes that come in order, over one request or more."""

    def __init__(self, row: int, latency: int, continues: bool) -> None:
        self.row, self.continues = row, continues
        """``continues``: more codes may follow after the end of a request."""
        self.received = self.decoded = 0
        """Frames of codes that came in, and that came out of the decoder."""
        self._skipped = latency
        self._chunks: list[Samples] = []

    @property
    def settled(self) -> bool:
        """All codes so far are decoded; with a decoder that lags, its latest audio is still in its state."""
        return self.received == self.decoded

    @property
    def has_more(self) -> bool:
        return bool(self._chunks)

    def take(self) -> Iterator[Float[Tensor, "C n"]]:
        """The chunks that are there, of one frame or more."""
        return map(torch.from_numpy, self.take_samples())

    def take_samples(self) -> list[Samples]:
        """The same as arrays."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def receive(self, samples: Samples, frames: int, counts: bool) -> None:
        """Take decoded frames [C, n]; the first ones of a decoder that lags precede the stream."""
        self.decoded += frames if counts else 0
        if self._skipped:
            hop = samples.shape[-1] // frames
            early = min(self._skipped, frames)
            self._skipped -= early
            samples = samples[..., early * hop :]
        if samples.shape[-1]:
            self._chunks.append(samples)
