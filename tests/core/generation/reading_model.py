"""A language model that says what it reads, and reads as a test wants: its attention jumps, is stuck, or never ends."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lina.core.model.cross_attention import TextMemory
from lina.core.model.delay_lm import Conditions, LMState
from lina.core.model.tokens import MARKS, STOP

CODES = 50
Wish = Callable[[int], float]
"""Frame -> position that a row would like to read. At one that is negative it wants to stop."""


class Reader:
    """Row r would like to read ``wishes[r](frame)``; it reads what is readable nearest to that, and says where."""

    codebook_sizes = (CODES, CODES)
    vocab = CODES + MARKS

    def __init__(self, *wishes: Wish, sure: float = 9.0) -> None:
        """``sure``: the logit of what is read; all else has 0."""
        self.wishes, self.sure = wishes, sure

    def initial_state(self, batch: int) -> LMState:
        """The frame of each row."""
        return LMState(torch.zeros(batch, dtype=torch.int64), (), ())  # type: ignore[arg-type]

    def step(self, tokens: Tensor, state: LMState, conditions: Conditions) -> tuple[Tensor, LMState, Tensor]:
        mask = conditions.text.mask
        messages = mask if mask.dim() == 2 else mask[:, 0]
        assert messages.any(-1).all(), "a row that can read nothing"
        rows = conditions.speaker[:, 0].long().tolist()
        wished = torch.tensor(
            [self.wishes[row](frame) for row, frame in zip(rows, state.encoder.tolist(), strict=True)]
        )
        distance = (torch.arange(messages.shape[1]) - wished[:, None].clamp(min=0)).abs()
        read = distance.masked_fill(~messages, 1e9).argmin(-1)
        logits = torch.zeros(len(messages), 2, self.vocab)
        logits.scatter_(2, (read + MARKS)[:, None, None].expand(-1, 2, 1), self.sure)
        logits[:, 0, STOP] = torch.where(wished < 0, 99.0, -99.0)
        attention = torch.nn.functional.one_hot(read, messages.shape[1]).float()
        return logits, state._replace(encoder=state.encoder + 1), attention

    def parallel_forward(self, tokens: Tensor, state: LMState, conditions: Conditions) -> Any:
        output, read = [], []
        for column in tokens.unbind(1):
            logits, state, attention = self.step(column, state, conditions)
            output.append(logits)
            read.append(attention)
        return torch.stack(output, 1), state, torch.stack(read, 1)


def texts(*lengths: int, width: int | None = None) -> Conditions:
    """Conditions of texts of so many positions; the speaker is the number of the row."""
    position = torch.arange(width or max(lengths))
    mask = position < torch.tensor(lengths)[:, None]
    nothing = torch.zeros(*mask.shape, 0)
    memory = TextMemory(nothing, nothing, mask, nothing, torch.zeros_like(mask, dtype=torch.int64))
    return Conditions(memory, torch.arange(len(lengths)).float()[:, None])


def listed(places: Sequence[float]) -> Wish:
    """One after the other, then to stop."""
    return lambda frame: places[frame] if frame < len(places) else -1
