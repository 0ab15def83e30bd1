"""Backends of the engine: ways to run the same step, chosen by the machine."""

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import torch

from lina.core.errors import LinaError
from lina.core.generation.guidance import LanguageModel
from lina.core.generation.in_place_lm import InPlaceLM
from lina.core.state import state_bytes
from lina.engine.backend_names import GRAPHS, BackendName, GraphName
from lina.engine.block import Block
from lina.engine.eager import EagerBackend
from lina.engine.memory import check_memory
from lina.engine.numerics import Numerics
from lina.engine.onnx.session import Graphs
from lina.engine.state import DecodeState, empty_slots, in_exact_precision
from lina.engine.step import DecodeStep

log = logging.getLogger("lina")
choice_log = logging.getLogger("lina.engine")
"""Of the chosen backend only; ``lina say`` does not show it unless asked."""

LITTLE_STATE = 4 * 2**20
"""Bytes of states up to which ``auto`` captures PyTorch's own kernels, so that nothing waits for a compiler."""


class Backend(Protocol):
    """Runs steps of all slots."""

    name: str
    lag: int
    """Blocks of steps that it can have under way while its caller goes on."""

    @property
    def state(self) -> DecodeState:
        """The slots as they are after the last step that was issued."""
        ...

    def insert(self, slots: Sequence[int], rows: DecodeState) -> None:
        """Put ``rows`` into ``slots``, after all steps that were issued."""
        ...

    def run(self, steps: int) -> Block:
        """Issue ``steps`` steps of all slots."""
        ...


def build_backend(
    requested: BackendName,
    lm: LanguageModel,
    step: DecodeStep,
    row: DecodeState,
    slots: int,
    numerics: Numerics,
    running: DecodeState | None = None,
    graphs: Graphs | None = None,
) -> Backend:
    """The backend for this machine: CUDA graphs on a GPU, onnxruntime on a CPU; with ``auto`` eager where these fail.

    ``row``: a first row, for the shapes. ``running``: slots that go on, instead of empty ones. ``graphs``: the model's,
    for onnxruntime.

    Raises:
        LinaError: this machine has no such backend or too little memory, or the step cannot be captured.
    """
    device = row.step.device
    if requested in GRAPHS and device.type != "cuda":
        raise LinaError(
            f"engine: backend {requested!r} needs a CUDA device, and the model is on {device}; use eager or auto"
        )
    if requested != "eager" and device.type == "cpu" and (graphs is not None or requested != "auto"):
        backend = _onnx(requested, lm, step, row, slots, numerics, running, graphs)
        if backend is not None:
            return backend
    if requested.startswith("onnx"):
        raise LinaError(f"engine: backend {requested!r} is for CPUs, and the model is on {device}; use auto")
    if requested == "eager" or device.type != "cuda":
        return _eager(lm, step, row, slots, numerics, running)
    from lina.engine.graph import GraphBackend

    stored = row._replace(lm=InPlaceLM(lm).stored(row.lm, numerics.memory))
    check_memory(stored, slots, device)
    kind = choose_graph(requested, lm, slots)
    try:
        state = empty_slots(stored, slots) if running is None else running
        backend = GraphBackend(lm, step, state, numerics, kind=kind, running=running is not None)
    except torch.OutOfMemoryError:
        raise LinaError(
            f"engine: {slots} slots fit into the GPU's memory, but not what a step of them needs beside; use fewer"
        ) from None
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"
        torch.cuda.synchronize(device)
        if requested != "auto":
            raise LinaError(
                f"engine: backend {requested!r} cannot capture the step ({reason}); use eager or auto"
            ) from error
        log.warning("decode engine: the step cannot be captured (%s); going on with eager", reason)
        return _eager(lm, step, row, slots, numerics, running)
    _log_choice(backend.name)
    return backend


def choose_graph(requested: BackendName, lm: LanguageModel, slots: int) -> GraphName:
    """With ``auto``, fused kernels unless there is so little state that compiling them takes longer than they save."""
    if requested in GRAPHS:
        return requested
    return "reference-graph" if slots * state_bytes(lm.initial_state(1)) <= LITTLE_STATE else "graph"


def _onnx(
    requested: BackendName,
    lm: LanguageModel,
    step: DecodeStep,
    row: DecodeState,
    slots: int,
    numerics: Numerics,
    running: DecodeState | None,
    graphs: Graphs | None,
) -> Backend | None:
    """The onnxruntime backend; None if it cannot be used, with the reason in the log.

    Raises:
        LinaError: it was requested and cannot be used.
    """
    from lina.engine.onnx.backend import OnnxBackend, obstacle

    int8 = requested == "onnx-int8"
    reason = obstacle(graphs, lm, step.features, numerics)
    if reason is None and int8:
        assert graphs is not None
        reason = graphs.int8_obstacle()
    if reason is None:
        assert graphs is not None
        state = empty_slots(row, slots) if running is None else running
        backend = OnnxBackend(graphs, lm, step, state, int8=int8, running=running is not None)
        _log_choice(backend.name)
        return backend
    if requested != "auto":
        raise LinaError(f"engine: backend {requested!r} cannot be used: {reason}; use auto or eager")
    _log_choice(f"no onnxruntime, because {reason}")
    return None


def _eager(
    lm: LanguageModel,
    step: DecodeStep,
    row: DecodeState,
    slots: int,
    numerics: Numerics,
    running: DecodeState | None,
) -> Backend:
    _log_choice("eager")
    if running is None:
        return EagerBackend(lm, step, empty_slots(row, slots), numerics)
    return EagerBackend(lm, step, running._replace(lm=in_exact_precision(lm, running.lm)), numerics)


@lru_cache
def _log_choice(name: str) -> None:
    """Log the chosen backend once per process."""
    choice_log.info("decode engine: %s", name)
