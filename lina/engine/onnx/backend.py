"""The onnxruntime backend: the exported step over slots in its own memory, for CPUs."""

from collections.abc import Mapping, Sequence

import torch
from torch.utils import _pytree as pytree

from lina.core.generation.guidance import Guided, LanguageModel
from lina.core.state import leaves, named_leaves, take_rows
from lina.engine.block import Block
from lina.engine.compare import DifferentError, worst_difference
from lina.engine.numerics import Numerics
from lina.engine.onnx.feedback import Feedback
from lina.engine.onnx.files import OUTPUTS, STEP, STEP_INT8
from lina.engine.onnx.session import Array, Graphs
from lina.engine.onnx.session import obstacle as runtime_obstacle
from lina.engine.state import DecodeState, Features
from lina.engine.step import DecodeStep, StepOutput

LIMITS = {False: 1e-3, True: 0.1}
"""Root-mean-square difference from eager, relative, with float32 and with int8 products."""
CHECKED_ROWS = 4


def obstacle(graphs: Graphs | None, lm: LanguageModel, features: Features, numerics: Numerics) -> str | None:
    """The reason why the exported step cannot serve streams with these features; None if it can."""
    if graphs is None:
        return "this model's graphs have not been exported"
    if isinstance(lm, Guided):
        return "guidance is not exported"
    if numerics.reduced:
        return "reduced precision is for GPUs"
    folder = graphs.folder
    wide = features.sampled and (
        features.widest is None or features.widest > (folder.widest or features.widest)
    )
    if wide and folder.widest is not None:
        return f"the exported step serves top_k up to {folder.widest}"
    if features.recent > folder.recent:
        return f"the exported step looks at {folder.recent} recent tokens, and {features.recent} are needed"
    return runtime_obstacle()


class OnnxBackend:
    """Holds the slots in arrays that the graph reads and writes in turn."""

    lag = 0

    def __init__(
        self,
        graphs: Graphs,
        lm: LanguageModel,
        step: DecodeStep,
        state: DecodeState,
        *,
        int8: bool = False,
        running: bool = False,
    ) -> None:
        """``running``: ``state`` holds streams, which are not checked again."""
        self.name = "onnxruntime, int8" if int8 else "onnxruntime"
        self._graph = graphs.graph(STEP_INT8 if int8 else STEP)
        self._lm, self._step, self._int8 = lm, step, int8
        self._structure = pytree.tree_structure(state)
        arrays = {name: leaf.numpy() for name, leaf in named_leaves(state).items()}
        self._slots = Feedback(self._graph, arrays, OUTPUTS[:-1])
        self._unchecked: list[int] | None = None if running else []

    @property
    def state(self) -> DecodeState:
        """The slots as they are after the last step, in memory of their own."""
        found = [torch.from_numpy(array.copy()) for array in self._slots.values.values()]
        state: DecodeState = pytree.tree_unflatten(found, self._structure)
        return state

    @torch.inference_mode()
    def insert(self, slots: Sequence[int], rows: DecodeState) -> None:
        """Put ``rows`` into ``slots``."""
        for name, leaf in named_leaves(rows).items():
            self._slots.values[name][list(slots)] = leaf.numpy()
        if self._unchecked is not None:
            self._unchecked = list(slots[:CHECKED_ROWS])

    @torch.inference_mode()
    def run(self, steps: int) -> Block:
        """Make ``steps`` steps of all slots.

        Raises:
            DifferentError: the first one with streams differs from the eager one.
        """
        outputs = []
        for _ in range(steps):
            if self._unchecked:
                outputs.append(self._compare(torch.tensor(self._unchecked)))
                self._unchecked = None
            else:
                outputs.append(_output(self._slots.run()))
        return Block(outputs)

    def _compare(self, rows: torch.Tensor) -> StepOutput:
        """Make one step, and compare it with the eager one of the same rows."""
        before: DecodeState = take_rows(self.state, rows)
        expected, after, _ = self._lm.step(before.column, before.lm, self._step.conditions(before))
        found = self._slots.run_for(OUTPUTS)
        logits = torch.from_numpy(found[OUTPUTS[-1]])[rows]
        worst = worst_difference(expected, logits, leaves(after), leaves(take_rows(self.state.lm, rows)))
        if not worst <= LIMITS[self._int8]:
            raise DifferentError(
                f"it differs from eager by {worst:.2g}, relative root mean square, at the first step"
            )
        return _output(found)


def _output(found: Mapping[str, Array]) -> StepOutput:
    """In memory of its own: the next step writes into the same arrays."""
    return StepOutput(*(torch.from_numpy(found[name].copy()) for name in OUTPUTS[:-1]))
