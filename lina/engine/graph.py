"""The CUDA-graph backend: the step in place, captured once and replayed.

A step of a small model is hundreds of kernels of a few microseconds each; launching them one by one from Python takes
several times as long as they do. ``compiled`` puts torch.compile before the capture, layer by layer, so that layers of
one kind share compiled code; ``reference-graph`` captures PyTorch's own kernels, which are there at once.
"""

import contextlib

import torch

from lina.core.generation.guidance import LanguageModel
from lina.core.model.in_place import copy_into
from lina.core.ops.dispatch import reference_kernels
from lina.core.state import tree_map
from lina.engine.block import Block, HostBlock
from lina.engine.buffers import BufferBackend
from lina.engine.compilation import compile_regions, compiling
from lina.engine.numerics import Numerics
from lina.engine.side_stream import side_stream
from lina.engine.state import DecodeState
from lina.engine.step import DecodeStep, StepOutput

NAMES = {
    "reference-graph": "CUDA graph, reference kernels",
    "graph": "CUDA graph",
    "compiled": "CUDA graph, compiled",
}

WARM_UP = 3
"""Steps before the capture, in which libraries choose their algorithms and take their memory."""


class GraphBackend(BufferBackend):
    """Holds the slots in buffers, which every replay advances."""

    lag = 1

    def __init__(
        self,
        lm: LanguageModel,
        step: DecodeStep,
        state: DecodeState,
        numerics: Numerics,
        *,
        kind: str,
        running: bool,
    ) -> None:
        """``state`` becomes the buffers. ``running``: it holds streams, which the capture must not advance."""
        self.name, self._compiled, self._fused = NAMES[kind], kind == "compiled", kind != "reference-graph"
        allowed = contextlib.nullcontext() if self._fused else reference_kernels()
        with torch.inference_mode(False), torch.no_grad(), numerics.context(state.step.device), allowed:
            super().__init__(lm, step, state, numerics, running=running)
            kept = tree_map(torch.clone, state) if running else None
            if self._compiled:
                compile_regions(self._model.regions())
                self._compiled_tail = torch.compile(self._finish, dynamic=False)
            self._capture()
            if kept is not None:
                copy_into(self.state, kept)

    def _capture(self) -> None:
        side, here = side_stream(self.device), torch.cuda.current_stream(self.device)
        side.wait_stream(here)
        with self._compiling(), torch.cuda.stream(side):
            for _ in range(WARM_UP if self._fused else 1):
                self._body()
        here.wait_stream(side)
        torch.cuda.synchronize(self.device)
        self._cursor.zero_()
        self._graph = torch.cuda.CUDAGraph()
        with self._compiling(), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._logits = self._body()

    def _compiling(self) -> contextlib.AbstractContextManager[None]:
        return compiling() if self._compiled else contextlib.nullcontext()

    def _advance(self) -> None:
        self._graph.replay()

    def _block(self, outputs: StepOutput) -> Block:
        return _CopiedBlock(outputs)


class _CopiedBlock(Block):
    """Outputs on their way to pinned memory."""

    def __init__(self, outputs: StepOutput) -> None:
        self._host = [torch.empty(leaf.shape, dtype=leaf.dtype, pin_memory=True) for leaf in outputs]
        for host, leaf in zip(self._host, outputs, strict=True):
            host.copy_(leaf, non_blocking=True)
        self._copied = torch.cuda.Event()
        self._copied.record()

    def wait(self) -> HostBlock:
        self._copied.synchronize()
        # Streams keep parts of a block; pinned memory is for the next ones.
        codes, attention, flags = (leaf.clone() for leaf in self._host)
        return HostBlock(codes, attention.float(), flags)
