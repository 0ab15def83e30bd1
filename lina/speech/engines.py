"""The engines of a voice: on a GPU they are kept, for their step is captured once; elsewhere one is made per call."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lina.core.generation.guidance import Guided
from lina.core.model.delay_lm import DelayLM
from lina.engine.backend import BackendName
from lina.engine.engine import Engine

KEPT = 4
"""Engines that are kept while nobody uses them."""


class Engines:
    """Engines of one model, lent to one caller at a time."""

    def __init__(self, model: DelayLM, backend: BackendName = "auto") -> None:
        self.model, self.backend = model, backend
        self._free: list[tuple[tuple[float, int], Engine]] = []
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, guidance: float, rows: int) -> Iterator[Engine]:
        """An engine with at least ``rows`` slots, guided by a scale other than 1."""
        device = self.model.logits_head.weight.device
        slots = rows if device.type == "cpu" else 1 << (rows - 1).bit_length()
        engine = self._take((guidance, slots)) or self._build(guidance, slots)
        yield engine  # one whose caller failed is not lent again
        if device.type != "cpu":
            with self._lock:
                self._free = [((guidance, slots), engine), *self._free[: KEPT - 1]]

    def _build(self, guidance: float, slots: int) -> Engine:
        lm = self.model if guidance == 1 else Guided(self.model, guidance)
        return Engine(lm, slots, backend=self.backend)

    def _take(self, kind: tuple[float, int]) -> Engine | None:
        with self._lock:
            for place, (own, engine) in enumerate(self._free):
                if own == kind:
                    del self._free[place]
                    return engine
        return None
