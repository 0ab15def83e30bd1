"""Slots in static buffers, which every step advances in place, as a CUDA graph captures it."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from lina.core.generation.guidance import LanguageModel
from lina.core.generation.in_place_lm import InPlaceLM
from lina.core.model.delay_lm import LMState
from lina.core.model.in_place import copy_into
from lina.core.state import leaves, take_rows, tree_map
from lina.engine.block import RING, Block
from lina.engine.compare import DifferentError, worst_difference
from lina.engine.numerics import Numerics
from lina.engine.state import DecodeState
from lina.engine.step import DecodeStep, StepOutput

CHECKED_ROWS = 4
LIMITS = {False: 5e-3, True: 5e-2}
"""Root-mean-square difference from eager, relative, without and with reduced precision."""


class BufferBackend:
    """The step in place, run operation by operation; the base of the CUDA graph."""

    name, lag = "in place", 0

    @torch.inference_mode(False)
    def __init__(
        self, lm: LanguageModel, step: DecodeStep, state: DecodeState, numerics: Numerics, *, running: bool
    ) -> None:
        """``state`` becomes the buffers. ``running``: it holds streams, which are not checked again."""
        self.lm, self.step, self.state, self.numerics = lm, step, state, numerics
        self.device = state.step.device
        self._model = InPlaceLM(lm).eval()
        self._compiled_tail: Callable[[Tensor, Tensor], None] | None = None
        self._ring: StepOutput | None = None
        self._cursor = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._logits: Tensor | None = None
        self._unchecked: list[int] | None = None if running else []

    @torch.no_grad()
    def insert(self, slots: Sequence[int], rows: DecodeState) -> None:
        """Put ``rows`` into ``slots``, after the steps that were issued."""
        index = torch.tensor(slots).to(self.device, non_blocking=True)
        with torch.inference_mode():
            for buffer, row in zip(leaves(self.state), leaves(rows), strict=True):
                buffer.index_copy_(0, index, row.to(buffer.dtype))
        if self._unchecked is not None:
            self._unchecked = list(slots[:CHECKED_ROWS])

    @torch.no_grad()
    def run(self, steps: int) -> Block:
        """Issue ``steps`` steps.

        Raises:
            DifferentError: the first one with streams differs from the eager one.
        """
        if steps > RING:
            raise ValueError(f"{steps} steps in a block; at most {RING}")
        self._cursor.zero_()
        for _ in range(steps):
            if self._unchecked:
                self._compare(torch.tensor(self._unchecked, device=self.device))
                self._unchecked = None
            else:
                self._advance()
        assert self._ring is not None
        return self._block(StepOutput(*(leaf[:steps] for leaf in self._ring)))

    def _advance(self) -> None:
        """Make one step of the buffers."""
        with torch.inference_mode(False), torch.no_grad(), self.numerics.context(self.device):
            self._logits = self._body()

    def _block(self, outputs: StepOutput) -> Block:
        return Block([StepOutput(*parts) for parts in zip(*(leaf.clone() for leaf in outputs), strict=True)])

    def _body(self) -> Tensor:
        """One step of the buffers, which returns the logits."""
        state = self.state
        conditions = self.step.conditions(state)
        logits: Tensor
        logits, _, attention = self._model(state.column, state.lm, conditions)
        if self._ring is None:
            _, output = self.step.choose(state, logits, attention)
            self._ring = StepOutput(*(leaf.new_zeros(RING, *leaf.shape) for leaf in output))
        (self._compiled_tail or self._finish)(logits, attention)
        return logits

    def _finish(self, logits: Tensor, attention: Tensor) -> None:
        """Choose the next columns, and write them and the outputs into their places."""
        after, output = self.step.choose(self.state, logits, attention)
        before = self.state._replace(lm=(), conditions=())  # type: ignore[arg-type]
        copy_into(before, after._replace(lm=(), conditions=()))  # type: ignore[arg-type]
        assert self._ring is not None
        for ring, leaf in zip(self._ring, output, strict=True):
            ring.index_copy_(0, self._cursor, leaf.to(ring.dtype)[None])
        self._cursor.add_(1)

    def _compare(self, rows: Int[Tensor, "R"]) -> None:
        """Make one step, and compare it with the eager one of the same rows."""
        before: DecodeState = take_rows(self.state, rows)
        plain: LMState = tree_map(_in_float32, before.lm)
        with self.numerics.context(self.device):
            expected, after, _ = self.lm.step(before.column, plain, self.step.conditions(before))
        self._advance()
        assert self._logits is not None
        found = take_rows(self.state.lm, rows)
        worst = worst_difference(expected, self._logits[rows], after, found)
        if not worst <= LIMITS[self.numerics.reduced]:
            raise DifferentError(
                f"it differs from eager by {worst:.2g}, relative root mean square, at the first step"
            )


def _in_float32(leaf: Tensor) -> Tensor:
    return leaf.float() if leaf.is_floating_point() else leaf
