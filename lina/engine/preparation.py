"""Fused kernels prepared beside the running engine, for an engine that began without them.

Compiling them takes seconds where no earlier process has; a first sentence does not wait for that.
"""

import logging
import threading

import torch

from lina.core.generation.guidance import LanguageModel
from lina.engine.buffers import BufferBackend
from lina.engine.numerics import Numerics
from lina.engine.side_stream import side_stream
from lina.engine.state import DecodeState
from lina.engine.step import DecodeStep

log = logging.getLogger("lina")


class Preparation:
    """One step in place with fused kernels, on a copy of the slots, in a thread and a CUDA stream beside the steps."""

    def __init__(self, lm: LanguageModel, step: DecodeStep, state: DecodeState, numerics: Numerics) -> None:
        self.ready = False
        """The kernels are compiled; False while they are, and where they cannot be."""
        copied = torch.cuda.Event()
        copied.record(torch.cuda.current_stream(state.step.device))
        arguments = lm, step, state, numerics, copied
        self._thread = threading.Thread(target=self._run, args=arguments, name="lina kernels")
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, whether or not the kernels are ready."""
        self._thread.join()

    @torch.no_grad()
    def _run(
        self,
        lm: LanguageModel,
        step: DecodeStep,
        state: DecodeState,
        numerics: Numerics,
        copied: torch.cuda.Event,
    ) -> None:
        device = state.step.device
        try:
            with torch.cuda.device(device), torch.cuda.stream(side_stream(device)):
                torch.cuda.current_stream(device).wait_event(copied)
                BufferBackend(lm, step, state, numerics, running=True).run(1)
                torch.cuda.current_stream(device).synchronize()
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            log.info("decode engine: no fused kernels (%s: %s)", type(error).__name__, lines[0])
        else:
            self.ready = True
