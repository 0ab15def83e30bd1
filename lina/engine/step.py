"""One step of all slots, as a pure function of tensors that never waits for the device.

Codebook 0 ends a stream with STOP; the other codebooks then finish the frames that it has begun. Ramp and tail of the
delay pattern are given to the model as in training, never sampled.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.generation.attention_window import follow, may_stop, must_stop, readable
from lina.core.generation.counter_random import draw_keys
from lina.core.generation.repetition import draw_again
from lina.core.generation.sampling import sample
from lina.core.model.delay_lm import Conditions, LMState
from lina.core.model.delay_pattern import undelay
from lina.core.model.tokens import MARKS, START, STOP
from lina.engine.state import DecodeState, Features

ModelStep = Callable[[Tensor, LMState, Conditions], tuple[Tensor, LMState, Tensor]]
"""``DelayLM.step``, or a form of it that advances the state in place and returns it."""


class StepOutput(NamedTuple):
    """The result of one step for each slot."""

    codes: Int[Tensor, "S Q"]
    """The frame that became complete; meaningful where that flag is set."""
    attention: Float[Tensor, "S J"]
    """Of this step (of codebook 0) over the text."""
    flags: Bool[Tensor, "F S"]


class DecodeStep:
    """The step for one alphabet of tokens and one set of features."""

    def __init__(self, codebook_sizes: Sequence[int], features: Features, device: torch.device) -> None:
        self.codebooks, self.features = len(codebook_sizes), features
        sizes = torch.tensor(codebook_sizes, device=device)[:, None]
        token = torch.arange(max(codebook_sizes) + MARKS, device=device)
        self.codes: Bool[Tensor, "Q V"] = (token >= MARKS) & (token < sizes + MARKS)
        """Tokens that are codes; STOP is another one that codebook 0 may choose."""
        book = torch.arange(self.codebooks, device=device)
        self.stop: Bool[Tensor, "Q V"] = (token == STOP) & (book == 0)[:, None]
        self.book = book
        self.undelay = undelay(self.codebooks, START, device)

    def __call__(self, model: ModelStep, state: DecodeState) -> tuple[DecodeState, StepOutput]:
        """The state after one step of ``model``, and its output."""
        logits, lm, attention = model(state.column, state.lm, self.conditions(state))
        after, output = self.choose(state, logits, attention)
        return after._replace(lm=lm), output

    def conditions(self, state: DecodeState) -> Conditions:
        """The text that each slot can read at this step."""
        if not self.features.windowed:
            return state.conditions
        text = state.conditions.text
        mask = readable(text.mask, state.place, state.window)
        return state.conditions._replace(text=text._replace(mask=mask))

    def choose(
        self, state: DecodeState, logits: Float[Tensor, "S Q V"], attention: Float[Tensor, "S J"]
    ) -> tuple[DecodeState, StepOutput]:
        """Sample the next column of each slot; all of a step but its model."""
        frame = state.step
        may_end, must_end, place = frame > 0, None, state.place
        if self.features.windowed:
            place = follow(place, attention, state.window)
            must_end = may_end & must_stop(place, state.window)
            may_end = may_end & may_stop(place, state.window)
        allowed = self.codes | self.stop & may_end[:, None, None]
        chosen, recent = self._sample(state, logits, allowed)

        active = frame < state.length
        ends = (chosen[:, 0] == STOP) & active
        stopped, ended_by_window = state.stopped | ends, state.ended_by_window
        if must_end is not None:
            ended_by_window = ended_by_window | must_end & active & ~stopped
            ends = ends | must_end & active
        length = torch.where(ends, frame, state.length)

        own = frame[:, None] - self.book
        following = (frame + 1).clamp(max=self.codebooks - 1)[:, None, None].expand(-1, 1, self.codebooks)
        forced = state.forced.gather(1, following)[:, 0]
        column = torch.where(own < 0, forced, chosen)
        column = torch.where(own >= length[:, None], STOP, column)
        tokens, undelayed = self.undelay.step(column, state.undelayed)
        done = frame + 1 - self.codebooks
        after = state._replace(
            column=column,
            step=frame + 1,
            length=length,
            stopped=stopped,
            ended_by_window=ended_by_window,
            undelayed=undelayed,
            place=place,
            recent=recent,
        )
        output = StepOutput(
            (tokens - MARKS).clamp(min=0),
            attention,
            torch.stack(
                [
                    (done >= 0) & (done < length),
                    frame < length,
                    stopped,
                    ended_by_window,
                    done + 1 >= length,
                ]
            ),
        )
        return after, output

    def _sample(
        self, state: DecodeState, logits: Float[Tensor, "S Q V"], allowed: Bool[Tensor, "S Q V"]
    ) -> tuple[Int[Tensor, "S Q"], Int[Tensor, "S K"]]:
        """Chosen tokens, and the latest of codebook 0 with its new one."""
        if not self.features.sampled:
            return sample(logits, allowed, state.sampling, None), state.recent
        draws = draw_keys(state.key, state.step, self.codebooks + 1)
        chosen = sample(
            logits, allowed, state.sampling, draws[:, :-1], self.features.widest, self.features.nucleus
        )
        if not self.features.recent:
            return chosen, state.recent
        first = draw_again(
            chosen[:, 0], state.recent, logits[:, 0], allowed[:, 0], state.repetition, draws[:, -1]
        )
        recent = torch.cat([state.recent[:, 1:], first[:, None]], 1)
        return torch.cat([first[:, None], chosen[:, 1:]], 1), recent
