"""The engines of a voice: on a GPU they are kept, for their step is captured once; elsewhere one is made per call."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import cast

import torch

from lina.core.audio.codec import AnyCodec, decoder_stream
from lina.core.generation.guidance import Guided
from lina.core.model.delay_lm import DelayLM
from lina.core.protocols import DecoderStream, DecodesOnDevice, implements
from lina.engine.backend_names import BackendName
from lina.engine.engine import Engine
from lina.engine.onnx.session import Graphs

log = logging.getLogger("lina")

Kind = tuple[float, int, bool]
"""Guidance, slots, and with a decoder of audio."""

SENTENCES_ON_GPU = 2
"""Sentences of a text that a GPU decodes at once: a step of two rows takes as long as one of a single row."""

KEPT = 4
"""Engines that are kept while nobody uses them."""


class Engines:
    """Engines of one model, lent to one caller at a time."""

    def __init__(
        self,
        model: DelayLM,
        codec: AnyCodec,
        backend: BackendName = "auto",
        graphs: Graphs | None = None,
    ) -> None:
        self.model, self.codec, self.backend, self.graphs = model, codec, backend, graphs
        self._free: list[tuple[Kind, Engine]] = []
        self._lock = threading.Lock()
        self._preparing: threading.Thread | None = None

    @property
    def device(self) -> torch.device:
        return self.model.logits_head.weight.device

    def slots_of_text(self, best_of: int, carry: bool = False) -> int:
        """Slots for a text; a GPU decodes some sentences side by side, unless each depends on the last (``carry``)."""
        at_once = SENTENCES_ON_GPU if self.device.type == "cuda" and not carry else 1
        return max(best_of, at_once)

    @cached_property
    def device_decoder(self) -> DecoderStream | None:
        """The codec's decoder on the model's GPU, if it has one."""
        if self.device.type != "cuda" or not implements(self.codec, DecodesOnDevice):
            return None
        return cast(DecodesOnDevice, self.codec).decoder_on(self.device)

    @property
    def decoder(self) -> DecoderStream:
        """The decoder that streams of audio use."""
        return self.device_decoder or decoder_stream(self.codec)

    @contextmanager
    def borrow(self, guidance: float, rows: int, audio: bool = False) -> Iterator[Engine]:
        """An engine with at least ``rows`` slots; guided by a scale other than 1; ``audio``: it can decode codes."""
        slots = rows if self.device.type == "cpu" else 1 << (rows - 1).bit_length()
        kind = guidance, slots, audio
        self._wait()
        engine = self._take(kind) or self._build(*kind)
        try:
            yield engine  # one whose caller failed is not lent again
        except GeneratorExit:  # the caller has heard enough
            self._return(kind, engine)
            raise
        self._return(kind, engine)

    def prepare(self, work: Callable[[], None]) -> None:
        """Do ``work``, which borrows an engine, in a thread; other callers wait for its end."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # the next caller meets it as well, and reports it
                log.debug("preparing a voice: %s", error)

        self._preparing = threading.Thread(target=run, name="lina voice")
        self._preparing.start()

    def _wait(self) -> None:
        thread = self._preparing
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _build(self, guidance: float, slots: int, audio: bool) -> Engine:
        lm = self.model if guidance == 1 else Guided(self.model, guidance)
        decoder = self.decoder if audio else None
        return Engine(lm, slots, backend=self.backend, decoder=decoder, graphs=self.graphs)

    def _return(self, kind: Kind, engine: Engine) -> None:
        if self.device.type != "cpu" and engine.idle:
            with self._lock:
                self._free = [(kind, engine), *self._free[: KEPT - 1]]

    def _take(self, kind: Kind) -> Engine | None:
        with self._lock:
            for place, (own, engine) in enumerate(self._free):
                if own == kind:
                    del self._free[place]
                    return engine
        return None
