"""The decode loop: requests wait for a slot, join between steps, and leave when all their frames are complete.

The loop never waits for the step it has just issued: on a GPU it prepares the requests that wait, issues a block of
steps, and only then looks at the block before. It has no thread of its own; whoever reads a stream drives it.
"""

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.guidance import LanguageModel
from lina.core.model.delay_lm import LMState
from lina.core.ops.dispatch import HAS_TRITON
from lina.core.protocols import DecoderStream
from lina.core.state import take_rows, tree_map
from lina.engine.audio import AudioDecoder
from lina.engine.audio_stream import AudioStream
from lina.engine.backend import Backend, build_backend, choose_graph
from lina.engine.backend_names import BackendName
from lina.engine.block import Block
from lina.engine.captured_audio import build_audio_decoder
from lina.engine.compare import DifferentError
from lina.engine.graph import NAMES
from lina.engine.numerics import Numerics
from lina.engine.onnx.session import Graphs
from lina.engine.prefill import Prefill, take_prefilled
from lina.engine.preparation import Preparation
from lina.engine.request import Request, RowResult
from lina.engine.side_stream import beside_steps
from lina.engine.state import POSITIONS, DecodeState, Features, fit, in_exact_precision, together
from lina.engine.step import DecodeStep
from lina.engine.stream import Stream

log = logging.getLogger("lina")

STEPS_PER_BLOCK = 4
"""Steps that a GPU is given at a time; ends are looked at once per block."""


class Engine:
    """Decodes any number of streams of one language model, ``slots`` of them at a time."""

    def __init__(
        self,
        lm: LanguageModel,
        slots: int,
        *,
        features: Features | None = None,
        backend: BackendName = "auto",
        numerics: Numerics | None = None,
        steps_per_block: int | None = None,
        decoder: DecoderStream | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        """``features``: those that streams will need; grown when one needs more, which builds the step anew.

        ``steps_per_block``: by default 1 on a CPU, where nothing is gained by looking later, and more on a GPU.

        ``decoder``: a codec's, for streams that are to have audio; as many as there are slots at a time.
        ``graphs``: the model's, exported, for onnxruntime.
        """
        self.numerics = numerics or Numerics()
        self.lm, self.slots, self.requested = self.numerics.prepare(lm), slots, backend
        if features is None and graphs is not None:  # a size of the exported step
            features = Features(POSITIONS, False, None, False, False, graphs.folder.recent)
        self._features = features
        self._backend: Backend | None = None
        self._steps, self._graphs = steps_per_block, graphs
        self._streams: list[Stream | None] = [None] * slots
        self._queue: deque[Stream] = deque()
        self._issued: deque[tuple[Block, tuple[Stream | None, ...]]] = deque()
        self._lock = threading.RLock()
        self._decoder = decoder
        self._preparation: Preparation | None = None
        self.steps = 0
        """Steps whose outputs have been collected."""

    @property
    def backend_name(self) -> str | None:
        """The backend that runs; None before the first stream."""
        return None if self._backend is None else self._backend.name

    @property
    def idle(self) -> bool:
        """No stream runs or waits."""
        return not self._busy and not self._queue

    @cached_property
    def audio(self) -> AudioDecoder:
        """The decoder of audio.

        Raises:
            LinaError: so many rows do not fit into the GPU's memory.
        """
        if self._decoder is None:
            raise ValueError("this engine has no decoder of audio")
        return build_audio_decoder(
            self._decoder, self.slots, len(self.lm.codebook_sizes), self._steps or STEPS_PER_BLOCK
        )

    def open_audio(self, prompt: Int[Tensor, "P Q"] | None = None, continues: bool = False) -> AudioStream:
        """A stream of audio for one request, or with ``continues`` for several in order, until it is closed.

        ``prompt``: codes that the audio follows without a seam.

        Raises:
            LinaError: there are as many streams of audio as slots.
        """
        with self._lock:
            return self.audio.open(prompt, continues)

    def close_audio(self, audio: AudioStream) -> None:
        """End a stream of audio at once."""
        with self._lock:
            self.audio.close(audio)

    def finish_audio(self, audio: AudioStream) -> Iterator[Float[Tensor, "C n"]]:
        """End a stream of audio, and return the samples that its decoder still holds."""
        with self._lock:
            self.audio.finish(audio)
            self.audio.issue()
            self.audio.collect(wait=True)
        yield from audio.take()

    def decode_audio(self, audio: AudioStream, codes: Int[Tensor, "T Q"]) -> Iterator[Float[Tensor, "C n"]]:
        """The audio of codes that come from no request of this engine."""
        for piece in codes.split(self.audio.frames):
            with self._lock:
                chunks = list(self.audio.decode_now(audio, piece))
            yield from chunks

    def attach_audio(self, stream: Stream, audio: AudioStream) -> None:
        """Let ``audio`` go on with the frames of a stream that was submitted without it, from its first one on."""
        with self._lock:
            stream.request = replace(stream.request, audio=audio)
            for frames in stream.pieces:
                for piece in frames.split(self.audio.frames):
                    self.audio.feed(audio, piece)
                    self.audio.issue()
            if stream.finished:
                self.audio.end(audio)
                self.audio.issue()
                stream.audio_end = audio.received

    def submit(self, request: Request) -> Stream:
        """Take a stream in; it joins as soon as a slot is free and somebody drives the engine."""
        if request.max_frames < 1:
            raise ValueError(f"max_frames = {request.max_frames}: a stream has at least one frame")
        stream = Stream(self, request)
        with self._lock:
            self._queue.append(stream)
        return stream

    def run(self, requests: Iterable[Request]) -> Iterator[RowResult]:
        """The results of many requests, in their order; the next ones are taken in as slots become free."""
        waiting, rest = deque[Stream](), iter(requests)
        while True:
            for request in itertools.islice(rest, 2 * self.slots - len(waiting)):
                waiting.append(self.submit(request))
            if not waiting:
                return
            yield waiting.popleft().result()

    def drive(self, until: Callable[[], bool]) -> None:
        """Turn the loop until ``until()``; other threads may turn it as well."""
        while not until():
            with self._lock:
                if not until():
                    self._turn()

    def remove(self, stream: Stream) -> None:
        """Free the slot of a stream, or its place in the queue."""
        with self._lock:
            stream.finished = True
            if stream.request.audio is not None:
                stream.audio_end = stream.request.audio.received
            if stream in self._queue:
                self._queue.remove(stream)
            if stream in self._streams:
                self._streams[self._streams.index(stream)] = None

    def _turn(self) -> None:
        """Let streams join, issue a block, and collect the blocks issued before."""
        if self._decoder is not None:
            self.audio.collect(wait=False)
        self._admit()
        behind = self._lag
        if self._busy:
            self._issue()
        while self._issued and (len(self._issued) > behind or not self._busy):
            self._collect()
        if self._decoder is not None:
            self.audio.collect(wait=not self._busy)

    @property
    def _busy(self) -> bool:
        return any(one is not None for one in self._streams)

    @property
    def _lag(self) -> int:
        """Blocks that may be under way while the loop goes on; none where a stream's last state is wanted."""
        if self._backend is None or any(one is not None and one.request.carry for one in self._streams):
            return 0
        return self._backend.lag

    def issue_ahead(self, blocks: int) -> bool:
        """Issue blocks on a GPU before work on the host that takes longer than one; False if nothing runs there."""
        with self._lock:
            if not self._lag or not self._busy:
                return False
            for _ in range(blocks):
                if self._busy:
                    self._issue()
            return True

    def _improve(self) -> None:
        """Prepare fused kernels from the second request on, and go over to them between requests.

        A process that speaks once has no use for them.
        """
        backend = self._backend
        if not HAS_TRITON or backend is None or backend.name != NAMES["reference-graph"]:
            return
        if self._preparation is None:
            assert self._features is not None
            step = DecodeStep(self.lm.codebook_sizes, self._features, backend.state.step.device)
            copied = tree_map(torch.clone, backend.state)
            self._preparation = Preparation(self.lm, step, copied, self.numerics)
        elif self._preparation.ready:
            while self._issued:
                self._collect()
            self._backend = None

    def _issue(self) -> None:
        assert self._backend is not None
        carries = any(one is not None and one.request.carry for one in self._streams)
        steps = 1 if carries else self._steps or (STEPS_PER_BLOCK if self._backend.lag else 1)
        try:
            block = self._backend.run(steps)
        except DifferentError as error:
            name = self._backend.name
            if self.requested != "auto":
                self._backend = None
                raise LinaError(
                    f"engine: backend {self.requested!r} failed its check ({error}); use eager or auto"
                ) from None
            log.warning("decode engine: %s failed its check (%s); going on with eager", name, error)
            self._restart("eager")
            return
        self._issued.append((block, tuple(self._streams)))

    def _restart(self, backend: BackendName) -> None:
        """Begin all streams anew, which have no frames yet, on another backend."""
        self.requested, self._backend = backend, None
        self._queue.extendleft(one for one in reversed(self._streams) if one is not None)
        self._streams = [None] * self.slots

    def beside(self) -> AbstractContextManager[None]:
        """Work for later requests beside the steps under way (``lina.engine.side_stream.beside_steps``)."""
        device = torch.device("cpu") if self._backend is None else self._backend.state.step.device
        return beside_steps(device)

    def prefill(self, stream: Stream) -> None:
        """Make the state of a waiting stream now, to be called ``beside`` the steps under way."""
        with self._lock:
            if stream in self._queue and self._features is not None:
                needed = Features.of([stream.request], len(self.lm.codebook_sizes))
                if self._features.serve(needed):
                    stream.prefilled = self._features, self._first_states([stream.request], self._features)

    def _admit(self) -> None:
        """Prefill waiting streams and put them into free slots."""
        if self._queue and self.requested == "auto" and not self._busy:
            self._improve()
        free = [slot for slot, one in enumerate(self._streams) if one is None]
        joining = [self._queue.popleft() for _ in free[: len(self._queue)]]
        if not joining:
            return
        codebooks = len(self.lm.codebook_sizes)
        requests = [one.request for one in joining]
        features = self._provide(Features.of(requests, codebooks))
        for group in together(requests):
            rows = take_prefilled([joining[index] for index in group], features)
            if rows is None:
                rows = self._first_states([requests[index] for index in group], features)
            if self._backend is None:
                self._start(take_rows(rows, torch.tensor([0])), features)
            assert self._backend is not None
            self._backend.insert([free[index] for index in group], rows)
        for slot, stream in zip(free, joining, strict=False):
            self._streams[slot] = stream

    def _provide(self, needed: Features) -> Features:
        """Features that serve the running streams and ``needed``; if they grew, slots move into larger buffers."""
        if self._features is not None and self._features.serve(needed):
            return self._features
        features = needed if self._features is None else self._features.join(needed)
        self._features = features
        if self._backend is not None:
            while self._issued:
                self._collect()
            running = fit(self._backend.state, features)
            self._backend = None
            self._start(take_rows(running, torch.tensor([0])), features, running)
        return features

    @cached_property
    def _first_states(self) -> Prefill:
        return Prefill(self.lm, self.numerics, self._begins_plain)

    @property
    def _begins_plain(self) -> bool:
        """Prompts are prefilled without a compiler where the steps need none."""
        return (
            self.requested != "eager"
            and choose_graph(self.requested, self.lm, self.slots) == "reference-graph"
        )

    def _start(self, row: DecodeState, features: Features, running: DecodeState | None = None) -> None:
        step = DecodeStep(self.lm.codebook_sizes, features, row.step.device)
        rest = self.lm, step, row, self.slots, self.numerics, running, self._graphs
        if self._preparation is not None and self._preparation.ready and self.requested == "auto":
            try:
                self._backend = build_backend("graph", *rest)
            except LinaError as error:
                log.warning("%s", error)
                self._preparation.ready = False
            else:
                return
        self._backend = build_backend(self.requested, *rest)

    def _collect(self) -> None:
        """Hand the outputs of the oldest block to their streams, and free the slots of those that are finished."""
        issued, streams = self._issued.popleft()
        block = issued.wait()
        self.steps += block.steps
        if self._decoder is not None:
            own = [None if one is None or one.finished else one.request.audio for one in streams]
            self.audio.feed_block(block, own)
        ended = []
        for slot, stream in enumerate(streams):
            if stream is not None and not stream.finished and stream.receive(block, slot):
                if stream.request.carry:
                    stream._state = self._state_after(slot)
                ended.append(stream)
        for stream in ended:
            if stream.request.audio is not None:
                self.audio.end(stream.request.audio)
            self.remove(stream)
        if self._decoder is not None:
            self.audio.issue()

    @torch.inference_mode()
    def _state_after(self, slot: int) -> LMState:
        """The state of a slot that has just made its last column, after reading that as well."""
        assert self._backend is not None
        index = torch.tensor([slot])
        row: DecodeState = take_rows(self._backend.state, index)
        with self.numerics.context(row.step.device):
            return self.lm.step(row.column, in_exact_precision(self.lm, row.lm), row.conditions)[1]
