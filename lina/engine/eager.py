"""The reference backend: the step as PyTorch runs it, operation by operation, on any device."""

from collections.abc import Sequence

import torch

from lina.core.generation.guidance import LanguageModel
from lina.core.ops.dispatch import reference_kernels
from lina.core.state import tree_map
from lina.engine.block import Block
from lina.engine.numerics import Numerics
from lina.engine.state import DecodeState
from lina.engine.step import DecodeStep


class EagerBackend:
    """Holds the slots as a value: each step replaces it."""

    name, lag = "eager", 0

    def __init__(self, lm: LanguageModel, step: DecodeStep, state: DecodeState, numerics: Numerics) -> None:
        self.lm, self.step, self.state = lm, step, state
        self._context = numerics.context(state.step.device)

    @torch.inference_mode()
    def insert(self, slots: Sequence[int], rows: DecodeState) -> None:
        """Put ``rows`` into ``slots``."""
        if len(slots) == len(self.state.step):
            order = torch.tensor(slots, device=self.state.step.device).argsort()
            self.state = rows if len(slots) == 1 else tree_map(lambda leaf: leaf[order], rows)
            return
        index = torch.tensor(slots, device=self.state.step.device)
        self.state = tree_map(lambda leaf, row: leaf.index_copy(0, index, row), self.state, rows)

    @torch.inference_mode()
    def run(self, steps: int) -> Block:
        """Make ``steps`` steps of all slots."""
        outputs = []
        with self._context, reference_kernels():
            for _ in range(steps):
                self.state, output = self.step(self.lm.step, self.state)
                outputs.append(output)
        return Block(outputs)
