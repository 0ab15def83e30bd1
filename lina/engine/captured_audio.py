"""The decoder of audio on a GPU: one call of all rows is captured as a CUDA graph, and runs on a stream of its own."""

import logging

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.audio.codec import skip
from lina.core.ops.dispatch import log_once
from lina.core.protocols import DecoderStream
from lina.core.state import State, leaves, tree_map, where_rows
from lina.engine.audio import AudioDecoder, Decoded
from lina.engine.audio_stream import Samples
from lina.engine.memory import check_memory

log = logging.getLogger("lina")


class CapturedAudioDecoder(AudioDecoder):
    """Rows in static buffers. A call decodes all of them, and keeps the states of those that take no part."""

    def __init__(self, decoder: DecoderStream, rows: int, codebooks: int, frames: int) -> None:
        self._fresh: set[int] = set()
        """Rows whose next call begins in the initial state."""
        super().__init__(decoder, rows, codebooks, frames)
        self.stream = torch.cuda.Stream(self.device)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        self._graph = _Graph(self, codebooks)

    def _context(self) -> torch.cuda.StreamContext:
        return torch.cuda.stream(self.stream)

    @torch.inference_mode(False)
    def _initial(self, rows: int) -> State:
        return tree_map(torch.clone, self.decoder.initial_state(rows))

    @torch.no_grad()
    def _reset(self, row: int, prompt: Int[Tensor, "P Q"] | None) -> None:
        if prompt is None:
            self._fresh.add(row)
            return
        self._fresh.discard(row)  # of a stream that was closed before its first call
        with self._context():
            state = skip(self.decoder, prompt[None].to(self.device), self.decoder.initial_state(1))
            self._put(torch.tensor([row]), state)

    def _put(self, rows: Int[Tensor, "N"], state: State) -> None:
        index = rows.pin_memory().to(self.device, non_blocking=True)
        for buffer, new in zip(leaves(self.state), leaves(state), strict=True):
            buffer.index_copy_(0, index, new.expand(len(rows), *new.shape[1:]))

    def _places(self, rows: npt.NDArray[np.int64]) -> list[int]:
        found: list[int] = rows.tolist()
        return found

    @torch.no_grad()
    def _decode(
        self, rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64], whole: npt.NDArray[np.bool_]
    ) -> Decoded:
        with self._context():
            if self._fresh:
                self._put(torch.tensor(sorted(self._fresh)), self.decoder.initial_state(1))
                self._fresh.clear()
            return self._graph.run(whole, codes)


class _Graph:
    """A call of all rows."""

    def __init__(self, owner: CapturedAudioDecoder, codebooks: int) -> None:
        device, rows = owner.device, owner.rows
        with torch.inference_mode(False), torch.no_grad(), torch.cuda.stream(owner.stream):
            self.codes = torch.zeros(rows, owner.frames, codebooks, dtype=torch.int64, device=device)
            self.active = torch.zeros(rows, dtype=torch.bool, device=device)
            self._body(owner)
        owner.stream.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        capturing = torch.cuda.graph(self._graph, stream=owner.stream, capture_error_mode="thread_local")
        with torch.inference_mode(False), torch.no_grad(), capturing:
            self.audio = self._body(owner)

    def _body(self, owner: CapturedAudioDecoder) -> Tensor:
        audio, after = owner.decoder.parallel_forward(self.codes, owner.state)
        for buffer, leaf in zip(
            leaves(owner.state), leaves(where_rows(self.active, after, owner.state)), strict=True
        ):
            buffer.copy_(leaf)
        return audio

    def run(self, active: npt.NDArray[np.bool_], codes: npt.NDArray[np.int64]) -> Decoded:
        """Issue a call in the current CUDA stream."""
        self.active.copy_(torch.from_numpy(active).pin_memory(), non_blocking=True)
        self.codes.copy_(torch.from_numpy(codes).pin_memory(), non_blocking=True)
        self._graph.replay()
        return _Copied(self.audio)


class _Copied:
    """Audio on its way to pinned memory."""

    def __init__(self, audio: Tensor) -> None:
        self._host = torch.empty(audio.shape, dtype=audio.dtype, pin_memory=True)
        self._host.copy_(audio, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def ready(self) -> bool:
        return bool(self._event.query())

    def wait(self) -> Samples:
        self._event.synchronize()
        samples: Samples = self._host.numpy()
        return samples


def build_audio_decoder(decoder: DecoderStream, rows: int, codebooks: int, frames: int) -> AudioDecoder:
    """The decoder of audio where the codec's decoder is: captured on a GPU, if it can be.

    ``frames``: frames per call on a GPU; elsewhere a frame is decoded as soon as it is there.
    """
    state = decoder.initial_state(1)
    device = next((leaf.device for leaf in leaves(state)), torch.device("cpu"))
    if device.type != "cuda":
        return AudioDecoder(decoder, rows, codebooks)
    with torch.inference_mode():
        nothing = torch.zeros(1, frames, codebooks, dtype=torch.int64, device=device)
        check_memory(decoder.parallel_forward(nothing, state), rows, device, "rows of audio")
    try:
        captured = CapturedAudioDecoder(decoder, rows, codebooks, frames)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        torch.cuda.synchronize(device)
        log.warning(
            "decode engine: the codec's decoder cannot be captured (%s: %s)", type(error).__name__, lines[0]
        )
        return AudioDecoder(decoder, rows, codebooks, frames)
    log_once("decode engine: the codec's decoder in a CUDA graph")
    return captured
