"""The decode loop: requests wait for a slot, join between steps, and leave when all their frames are complete.

The loop never waits for the step it has just issued: on a GPU it issues a block of steps, prepares the requests that
wait, and only then looks at the block before. It has no thread of its own; whoever reads a stream drives it.
"""

import contextlib
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.errors import LinaError
from lina.core.generation.guidance import LanguageModel
from lina.core.model.delay_lm import LMState
from lina.core.ops.dispatch import reference_kernels
from lina.core.state import join_rows, take_rows
from lina.engine.backend import Backend, BackendName, build_backend, choose_graph
from lina.engine.block import Block, HostBlock
from lina.engine.buffers import DifferentError
from lina.engine.numerics import Numerics
from lina.engine.request import Request, RowResult
from lina.engine.state import DecodeState, Features, first_state, fit
from lina.engine.step import COMPLETE, DecodeStep

log = logging.getLogger("lina")

STEPS_PER_BLOCK = 4
"""Steps that a GPU is given at a time; ends are looked at once per block."""


class Stream:
    """The frames of one request, as they become complete. Iterating drives the engine."""

    def __init__(self, engine: "Engine", request: Request) -> None:
        self.request = request
        self._engine = engine
        self._positions = request.conditions.text.mask.shape[-1]
        self._codes: list[npt.NDArray[np.int64]] = []
        self._attention: list[npt.NDArray[np.float32]] = []
        self._state: LMState | None = None
        self.stopped = self.ended_by_window = self.finished = False

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
            self._codes.append(block.codes[first : first + complete, slot].copy())
        if speaking:
            self._attention.append(block.attention[:speaking, slot, : self._positions].copy())
        self.stopped, self.ended_by_window = stopped > 0, ended_by_window > 0
        return finished > 0


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
    ) -> None:
        """``features``: those that streams will need; grown when one needs more, which builds the step anew.

        ``steps_per_block``: by default 1 on a CPU, where nothing is gained by looking later, and more on a GPU.
        """
        self.numerics = numerics or Numerics()
        self.lm, self.slots, self.requested = self.numerics.prepare(lm), slots, backend
        self._features = features
        self._backend: Backend | None = None
        self._steps = steps_per_block
        self._streams: list[Stream | None] = [None] * slots
        self._queue: deque[Stream] = deque()
        self._issued: deque[tuple[Block, tuple[Stream | None, ...]]] = deque()
        self._lock = threading.RLock()
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
            if stream in self._queue:
                self._queue.remove(stream)
            self._streams = [None if one is stream else one for one in self._streams]

    def _turn(self) -> None:
        """Issue a block for the streams that are there, let others join, and collect the blocks issued before."""
        behind = self._lag
        if behind and self._busy:
            self._issue()
        self._admit()
        if not behind and self._busy:
            self._issue()
        while self._issued and (len(self._issued) > behind or not self._busy):
            self._collect()

    @property
    def _busy(self) -> bool:
        return any(one is not None for one in self._streams)

    @property
    def _lag(self) -> int:
        """Blocks that may be under way while the loop goes on; none where a stream's last state is wanted."""
        if self._backend is None or any(one is not None and one.request.carry for one in self._streams):
            return 0
        return self._backend.lag

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

    def _admit(self) -> None:
        """Prefill waiting streams and put them into free slots."""
        free = [slot for slot, one in enumerate(self._streams) if one is None]
        joining = [self._queue.popleft() for _ in free[: len(self._queue)]]
        if not joining:
            return
        codebooks = len(self.lm.codebook_sizes)
        features = self._provide(Features.of([one.request for one in joining], codebooks))
        rows = [self._first_state(one.request, features) for one in joining]
        if self._backend is None:
            self._start(rows[0], features)
        assert self._backend is not None
        self._backend.insert(free[: len(rows)], rows[0] if len(rows) == 1 else join_rows(rows))
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

    @torch.inference_mode()
    def _first_state(self, request: Request, features: Features) -> DecodeState:
        device = request.conditions.speaker.device
        request = replace(request, conditions=self.numerics.prepare_conditions(request.conditions))
        with self.numerics.context(device), reference_kernels() if self._plain else contextlib.nullcontext():
            return first_state(self.lm, request, features)

    @cached_property
    def _plain(self) -> bool:
        """Prompts are prefilled without a compiler where the steps need none."""
        return (
            self.requested != "eager"
            and choose_graph(self.requested, self.lm, self.slots) == "reference-graph"
        )

    def _start(self, row: DecodeState, features: Features, running: DecodeState | None = None) -> None:
        step = DecodeStep(self.lm.codebook_sizes, features, row.step.device)
        self._backend = build_backend(self.requested, self.lm, step, row, self.slots, self.numerics, running)

    def _collect(self) -> None:
        """Hand the outputs of the oldest block to their streams, and free the slots of those that are finished."""
        issued, streams = self._issued.popleft()
        block = issued.wait()
        self.steps += block.steps
        for slot, stream in enumerate(streams):
            if stream is not None and not stream.finished and stream.receive(block, slot):
                if stream.request.carry:
                    stream._state = self._state_after(slot)
                self.remove(stream)

    @torch.inference_mode()
    def _state_after(self, slot: int) -> LMState:
        """The state of a slot that has just made its last column, after reading that as well."""
        assert self._backend is not None
        index = torch.tensor([slot])
        row: DecodeState = take_rows(self._backend.state, index)
        with self.numerics.context(row.step.device):
            return self.lm.step(row.column, row.lm, row.conditions)[1]
