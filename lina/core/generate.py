"""Speaking: one column after the other until every row has ended, frames out as soon as their codes are complete.

Codebook 0 ends a row by saying STOP; the other codebooks then finish the frames that it has begun. Ramp and tail of
the delay pattern are given to the model as in training, never sampled.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.delays import undelay
from lina.core.lm import Conditions, DelayLM
from lina.core.sampling import Sampling, row_generators, sample
from lina.core.tokens import MARKS, START, STOP, delayed_columns


class Frame(NamedTuple):
    """What one step gives to each row."""

    codes: Int[Tensor, "B Q"]
    """The frame that became complete; meaningful where ``complete``."""
    complete: Bool[Tensor, "B"]
    attention: Float[Tensor, "B J"]
    """Where this step (of codebook 0) reads the text."""
    speaking: Bool[Tensor, "B"]
    """Codebook 0 said a code at this step: ``attention`` belongs to a frame of the row."""
    stopped: Bool[Tensor, "B"]
    """The row has ended by itself."""


@torch.inference_mode()
def generate(
    lm: DelayLM,
    conditions: Conditions,
    *,
    sampling: Sampling,
    max_frames: int,
    seed: int = 0,
    prompt: Int[Tensor, "B P Q"] | None = None,
    generators: Sequence[torch.Generator] | None = None,
) -> Iterator[Frame]:
    """Yield a ``Frame`` a step until all rows have ended or have ``max_frames`` (beyond the prompt).

    ``prompt``: codes that each row begins with; they are read in one stretch and not given out again.
    ``generators``: one a row, in place of those that ``seed`` gives; a row says the same in any company with its own.
    """
    rows, codebooks = conditions.speaker.shape[0], len(lm.codebook_sizes)
    device = conditions.speaker.device
    given = 0 if prompt is None else prompt.shape[1]
    rules = sampling.per_codebook(codebooks)
    generators = row_generators(seed, rows) if generators is None else generators
    if len(generators) != rows:
        raise ValueError(f"{len(generators)} generators for {rows} rows; give one a row")
    may_go_on, may_stop = _allowed(lm, device, stop=False), _allowed(lm, device, stop=True)
    book = torch.arange(codebooks, device=device)
    lengths = torch.full((rows,), given + max_frames, device=device)
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)

    column = torch.full((rows, codebooks), START, dtype=torch.int64, device=device)
    forced = column[:, None] if prompt is None else _prompt_columns(prompt)
    state = lm.initial_state(rows)
    if given:
        _, state, _ = lm.parallel_forward(forced[:, :given], state, conditions)
        column = forced[:, given]
    align = undelay(codebooks, START, device)
    aligner = align.initial_state(rows)
    if given:
        _, aligner = align.parallel_forward(forced[:, 1 : given + 1], aligner)

    step = given
    while step < given + codebooks or bool((step - codebooks + 1 < lengths).any()):
        logits, state, attention = lm.step(column, state, conditions)
        step += 1  # the column being made: codebook q says frame step - 1 - q
        chosen = sample(logits, may_stop if step > given + 1 else may_go_on, rules, generators)
        ends = (chosen[:, 0] == STOP) & ~stopped & (step - 1 < lengths)
        lengths = torch.where(ends, step - 1, lengths)
        stopped = stopped | ends
        frame = step - 1 - book
        column = torch.where(frame >= lengths[:, None], STOP, torch.where(frame < 0, START, chosen))
        if step < forced.shape[1]:
            column = torch.where(frame < given, forced[:, step], column)
        tokens, aligner = align.step(column, aligner)
        done = step - codebooks
        complete = (done < lengths) & (done >= given)
        yield Frame((tokens - MARKS).clamp(min=0), complete, attention, step - 1 < lengths, stopped)


def _prompt_columns(prompt: Int[Tensor, "B P Q"]) -> Int[Tensor, "B C Q"]:
    lengths = torch.full((prompt.shape[0],), prompt.shape[1], device=prompt.device)
    return delayed_columns(prompt, lengths)


def _allowed(lm: DelayLM, device: torch.device, stop: bool) -> Bool[Tensor, "Q V"]:
    token = torch.arange(lm.vocab, device=device)
    sizes = torch.tensor(lm.codebook_sizes, device=device)[:, None]
    codes = (token >= MARKS) & (token < sizes + MARKS)
    if stop:
        codes[0, STOP] = True
    return codes
