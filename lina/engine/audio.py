"""Audio beside the slots: a codec's decoder over rows of its own, which decodes the frames of all streams together.

A row is one stream of audio. It may last for several requests (the sentences of a text), so rows are not the slots of
the language model. Codes go in from the host, where the engine has looked at them; whole calls are decoded for all
rows at once. Any ``DecoderStream`` is decoded like this, where its tensors are; ``lina.engine.captured_audio`` captures
the decoder on a GPU.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.audio.codec import skip
from lina.core.audio.contract import require_frames, stream_result
from lina.core.errors import LinaError
from lina.core.protocols import DecoderStream
from lina.core.state import State, leaves, take_rows, tree_map
from lina.engine.audio_stream import AudioStream, Samples
from lina.engine.block import RING, HostBlock
from lina.engine.flags import COMPLETE


class Decoded(Protocol):
    """The audio of a call, on its way to the host."""

    def ready(self) -> bool: ...

    def wait(self) -> Samples:
        """[N, C, n]"""
        ...


class OnHost(NamedTuple):
    samples: Samples

    def ready(self) -> bool:
        return True

    def wait(self) -> Samples:
        return self.samples


class _Call(NamedTuple):
    decoded: Decoded
    frames: int
    """Of each row."""
    places: list[tuple[AudioStream, int, int, int]]
    """Streams with their place in the call's audio, their first frame there, and the one after the last."""
    counts: bool
    """These are frames of codes; False for the rest that a decoder held."""


class AudioDecoder:
    """A decoder with ``rows`` rows, run operation by operation."""

    def __init__(self, decoder: DecoderStream, rows: int, codebooks: int, frames: int = 1) -> None:
        """``frames``: frames of a row that are decoded in one call."""
        self.decoder, self.rows, self.frames = decoder, rows, frames
        self._free = deque(range(rows))
        self._streams: list[AudioStream | None] = [None] * rows
        self._codes = np.zeros((rows, frames + RING, codebooks), np.int64)
        """Codes that wait for a call."""
        self._count = np.zeros(rows, np.int64)
        self._shown = np.zeros(rows, np.int64)
        """How many of them have been decoded once already."""
        self._ended = np.zeros(rows, np.bool_)
        self._calls: deque[_Call] = deque()
        self.state = self._initial(rows)

    @torch.inference_mode()
    def open(self, prompt: Int[Tensor, "P Q"] | None = None, continues: bool = False) -> AudioStream:
        """A new stream, whose decoder has read ``prompt``.

        Raises:
            LinaError: all rows are taken.
        """
        if not self._free:
            raise LinaError(
                f"engine: all {self.rows} rows of audio are taken; close a stream, or use more slots"
            )
        stream = AudioStream(self._free.popleft(), self.decoder.latency, continues)
        row = stream.row
        self._streams[row] = stream
        self._count[row], self._shown[row], self._ended[row] = 0, 0, False
        self._reset(row, prompt if prompt is not None and len(prompt) else None)
        return stream

    def close(self, stream: AudioStream) -> None:
        """Give a stream's row back; frames in decoding still arrive."""
        if self._streams[stream.row] is stream:
            self._streams[stream.row] = None
            self._count[stream.row] = 0
            self._free.append(stream.row)

    def feed(self, stream: AudioStream, codes: Int[Tensor, "n Q"]) -> None:
        """Add the codes of a few frames, at most ``frames``."""
        row, count = stream.row, int(self._count[stream.row])
        self._codes[row, count : count + len(codes)] = codes.numpy()
        self._count[row] += len(codes)
        stream.received += len(codes)

    def feed_block(self, block: HostBlock, streams: Sequence[AudioStream | None]) -> None:
        """Add the complete frames of a block, with the stream of audio of each slot."""
        slots = np.array([slot for slot, one in enumerate(streams) if self._is_open(one)], np.int64)
        if not len(slots):
            return
        rows = np.array([streams[slot].row for slot in slots], np.int64)
        for codes, flags in zip(block.codes, block.flags, strict=True):
            complete = flags[COMPLETE, slots]
            some = rows[complete]
            self._codes[some, self._count[some]] = codes[slots[complete]]
            self._count[some] += 1
        for slot, count in zip(slots, block.flags[:, COMPLETE, slots].sum(0).tolist(), strict=True):
            streams[slot].received += count

    def end(self, stream: AudioStream) -> None:
        """The request is over: all of its codes are decoded by the next ``issue``."""
        if self._is_open(stream):
            self._ended[stream.row] = True

    def finish(self, stream: AudioStream) -> None:
        """No codes follow."""
        stream.continues = False
        self.end(stream)

    @torch.inference_mode()
    def issue(self) -> None:
        """Decode whole calls, and what is left of requests that are over.

        Less than a call is decoded without going on from there: its codes stay, and the next call has them again.
        """
        while True:
            whole = self._count >= self.frames
            rest = self._ended & ~whole & (self._count > self._shown)
            if not (whole | rest).any():
                break
            self._run(whole, rest)
        for row in np.flatnonzero(self._ended).tolist():
            self._finish(row)
        self._ended[:] = False

    def collect(self, wait: bool) -> None:
        """Hand decoded audio to its streams: all of it, or what has arrived."""
        while self._calls and (wait or self._calls[0].decoded.ready()):
            call = self._calls.popleft()
            samples = call.decoded.wait()
            hop = samples.shape[-1] // call.frames
            for stream, place, first, last in call.places:
                stream.receive(samples[place, :, first * hop : last * hop], last - first, call.counts)

    def decode_now(self, stream: AudioStream, codes: Int[Tensor, "n Q"]) -> Iterator[Float[Tensor, "C n"]]:
        """Decode a few frames, at most ``frames``, that come from no running request."""
        self.feed(stream, codes)
        if len(codes) < self.frames:
            self.end(stream)
        self.issue()
        self.collect(wait=True)
        yield from stream.take()

    def _is_open(self, stream: AudioStream | None) -> bool:
        return stream is not None and self._streams[stream.row] is stream

    def _run(self, whole: npt.NDArray[np.bool_], rest: npt.NDArray[np.bool_]) -> None:
        """Make a call: rows that have all its frames go on, the rest only hear them."""
        rows = np.flatnonzero(whole | rest)
        decoded = self._decode(rows, self._codes[:, : self.frames], whole)
        shown, count = self._shown[rows].tolist(), np.minimum(self._count[rows], self.frames).tolist()
        places = [
            (stream, place, first, last)
            for stream, place, first, last in zip(
                [self._streams[row] for row in rows], self._places(rows), shown, count, strict=True
            )
            if stream is not None
        ]
        self._calls.append(_Call(decoded, self.frames, places, True))
        self._codes[whole, : -self.frames] = self._codes[whole, self.frames :]
        self._count[whole] -= self.frames
        self._shown[whole] = 0
        self._shown[rest] = self._count[rest]

    def _finish(self, row: int) -> None:
        """Give back the row of a stream that is over, with the audio that its decoder still holds."""
        stream = self._streams[row]
        if stream is None or stream.continues:
            return
        if self.decoder.latency:
            with self._context():
                state, left = take_rows(self.state, torch.tensor([row])), int(self._count[row])
                if left:
                    codes = torch.from_numpy(self._codes[row : row + 1, :left]).to(self.device)
                    _, state = self.decoder.parallel_forward(codes, state)
                held = samples_of(self.decoder.flush(state))
            frames = self.decoder.latency
            self._calls.append(_Call(OnHost(held), frames, [(stream, 0, 0, frames)], False))
        self.close(stream)

    def _context(self) -> contextlib.AbstractContextManager[object]:
        """The CUDA stream of the decoder's work, if it has one."""
        return contextlib.nullcontext()

    def _initial(self, rows: int) -> State:
        return self.decoder.initial_state(rows)

    def _reset(self, row: int, prompt: Int[Tensor, "P Q"] | None) -> None:
        state = self.decoder.initial_state(1)
        if prompt is not None:
            state = skip(self.decoder, prompt[None].to(self.device), state)
        self._put(torch.tensor([row]), state)

    def _put(self, rows: Int[Tensor, "N"], state: State) -> None:
        if self.rows == 1:
            self.state = state
        else:
            rows = rows.to(self.device)
            self.state = tree_map(lambda leaf, new: leaf.index_copy(0, rows, new), self.state, state)

    @property
    def device(self) -> torch.device:
        return next((leaf.device for leaf in leaves(self.state)), torch.device("cpu"))

    def _places(self, rows: npt.NDArray[np.int64]) -> list[int]:
        """Indices of these rows in the audio of a call."""
        return list(range(len(rows)))

    def _decode(
        self, rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], whole: npt.NDArray[np.bool_]
    ) -> Decoded:
        """Decode codes [R, n, Q] of these rows; the states of the ``whole`` ones go on."""
        index, frames = torch.from_numpy(rows), torch.from_numpy(codes[rows]).to(self.device)
        state = self.state if self.rows == 1 else take_rows(self.state, index)
        if frames.shape[1] == 1:
            audio, after = stream_result(self.decoder, "step", self.decoder.step(frames[:, 0], state))
        else:
            result = self.decoder.parallel_forward(frames, state)
            audio, after = stream_result(self.decoder, "parallel_forward", result)
        require_frames(self.decoder, audio, len(rows), frames.shape[1])
        goes_on = torch.from_numpy(whole[rows])
        if goes_on.all():
            self._put(index, after)
        elif goes_on.any():
            self._put(index[goes_on], take_rows(after, goes_on.nonzero()[:, 0]))
        return OnHost(samples_of(audio))


def samples_of(audio: Float[Tensor, "N C n"]) -> Samples:
    """Audio on the CPU."""
    found: Samples = audio.cpu().numpy()
    return found
