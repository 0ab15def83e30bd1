"""Streams of the engine: the frames of one request each, as they become complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.model.delay_lm import LMState
from lina.engine.block import HostBlock
from lina.engine.flags import COMPLETE
from lina.engine.request import Request, RowResult
from lina.engine.state import DecodeState, Features


class Driver(Protocol):
    """The part of an engine that its streams use."""

    def drive(self, until: Callable[[], bool]) -> None: ...

    def remove(self, stream: Stream) -> None: ...


class Stream:
    """The frames of one request, as they become complete. Iterating drives the engine."""

    def __init__(self, engine: Driver, request: Request) -> None:
        self.request = request
        self._engine = engine
        self._positions = request.conditions.text.mask.shape[-1]
        self._codes: list[npt.NDArray[np.int64]] = []
        self._attention: list[npt.NDArray[np.float32]] = []
        self._state: LMState | None = None
        self.stopped = self.ended_by_window = self.finished = False
        self.frames = 0
        """Frames so far."""
        self.prefilled: tuple[Features, DecodeState] | None = None
        """The state that it begins with, where it was made before a slot was free."""
        self.audio_end = 0
        """Frames that its stream of audio had received when this one ended."""

    @property
    def pieces(self) -> Iterator[Int[Tensor, "n Q"]]:
        """Frames so far, as they came."""
        return map(torch.from_numpy, self._codes)

    @property
    def has_all_audio(self) -> bool:
        """It is over, and all of its audio has been decoded and taken."""
        audio = self.request.audio
        assert audio is not None
        return self.finished and audio.decoded >= self.audio_end and not audio.has_more

    def __iter__(self) -> Iterator[Int[Tensor, "1 Q"]]:
        """Frames one by one, from the first; closing the iterator before the end gives the slot back."""
        seen = 0
        try:
            while True:
                more = self._codes[seen:]
                if more:
                    seen += len(more)
                    yield from torch.from_numpy(np.concatenate(more)).split(1)
                elif self.finished:
                    return
                else:
                    self._engine.drive(partial(self._has_more, seen))
        finally:
            if not self.finished:
                self.close()

    def _has_more(self, seen: int) -> bool:
        return len(self._codes) > seen or self.finished

    def audio(self) -> Iterator[Float[Tensor, "C n"]]:
        """Audio in chunks of one frame or more, until all codes are decoded; closing it gives the slot back.

        Raises:
            ValueError: the request has no stream of audio.
        """
        audio = self.request.audio
        if audio is None:
            raise ValueError("this request has no audio; make it with audio=engine.open_audio()")
        try:
            while True:
                yield from audio.take()
                if self.has_all_audio:
                    return
                self._engine.drive(lambda: audio.has_more or self.has_all_audio)
        finally:
            if not self.finished:
                self.close()

    def result(self) -> RowResult:
        """All frames; drives the engine to the end of this stream."""
        self._engine.drive(lambda: self.finished)
        codes, attention = (torch.from_numpy(np.concatenate(part)) for part in (self._codes, self._attention))
        return RowResult(codes, attention, self.stopped, self.ended_by_window, self._state)

    def close(self) -> None:
        """End the stream: its slot is free again."""
        self._engine.remove(self)

    def receive(self, block: HostBlock, slot: int) -> bool:
        """Take the output of a block for this stream, in ``slot``; True at its end."""
        complete, speaking, stopped, ended_by_window, finished = block.counts[slot]
        # Frames are complete, and codebook 0 speaks, in one run of steps each.
        if complete:
            first = 0 if complete == block.steps else int(block.flags[:, COMPLETE, slot].argmax())
            self._codes.append(block.codes[first : first + complete, slot])
            self.frames += complete
        if speaking:
            self._attention.append(block.attention[:speaking, slot, : self._positions])
        self.stopped, self.ended_by_window = stopped > 0, ended_by_window > 0
        return finished > 0
