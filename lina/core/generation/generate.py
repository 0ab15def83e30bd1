"""Speaking: one column after the other until every row has ended, frames out as soon as their codes are complete.

Codebook 0 ends a row by saying STOP; the other codebooks then finish the frames that it has begun. Ramp and tail of
the delay pattern are given to the model as in training, never sampled.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lina.core.generation.attention_window import Reading, Window
from lina.core.generation.guidance import LanguageModel
from lina.core.generation.repetition import Repetition, draw_again
from lina.core.generation.sampling import Sampling, row_generators, sample
from lina.core.model.delay_lm import Conditions, LMState
from lina.core.model.delay_pattern import undelay
from lina.core.model.tokens import MARKS, PAD, START, STOP, delayed_columns
from lina.core.state import join_rows, take_rows


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
    """The row has ended by itself; not one that the window has ended."""
    lingered: Bool[Tensor, "B"]
    """The window has ended the row, which had said its text and went on."""


class Ending(NamedTuple):
    """Where a single row's stream is when it has ended: ``step`` of ``column`` leaves it as training did."""

    column: Int[Tensor, "B Q"]
    """The last one, which completed the last frame and has not been read."""
    state: LMState


@torch.inference_mode()
def generate(
    lm: LanguageModel,
    conditions: Conditions,
    *,
    sampling: Sampling,
    max_frames: int,
    seed: int = 0,
    prompt: Int[Tensor, "B P Q"] | None = None,
    prompt_lengths: Int[Tensor, "B"] | None = None,
    generators: Sequence[torch.Generator] | None = None,
    state: LMState | None = None,
    window: Window | None = None,
    begin: Int[Tensor, "B"] | None = None,
    repetition: Repetition | None = None,
) -> Generator[Frame, None, Ending]:
    """Yield a ``Frame`` a step until all rows have ended or have ``max_frames`` (beyond the prompt).

    ``prompt``: codes that each row begins with; they are read in one stretch and not given out again.
    ``prompt_lengths``: how many of them are a row's own, 0 .. P; all by default. Row r's step n is of its own frame
    ``prompt_lengths[r] + n``: rows of different prompts speak side by side.
    ``generators``: one a row, in place of those that ``seed`` gives; a row says the same in any company with its own.
    ``state``: what was before, in which each row begins; the model's initial state by default.
    ``window``: what of the text can be read at a time, and when rows may end; all, and at any time, by default.
    ``begin``: the text position that each row is to begin with, after those of its prompt's transcript; 0 by default.
    ``repetition``: tokens of codebook 0, if it is sampled, that come too often are drawn again.
    """
    rows, codebooks = conditions.speaker.shape[0], len(lm.codebook_sizes)
    device = conditions.speaker.device
    rules = sampling.per_codebook(codebooks, device)
    generators = row_generators(seed, rows) if generators is None else generators
    if len(generators) != rows:
        raise ValueError(f"{len(generators)} generators for {rows} rows; give one a row")
    go_on, go_on_or_stop = _allowed(lm, device, stop=False), _allowed(lm, device, stop=True)
    book = torch.arange(codebooks, device=device)
    if prompt is None:
        prompt = torch.zeros(rows, 0, codebooks, dtype=torch.int64, device=device)
    given = torch.full((rows,), prompt.shape[1]) if prompt_lengths is None else prompt_lengths
    given = given.to(device)
    forced = delayed_columns(prompt.to(device), given)
    lengths = given + max_frames
    stopped = torch.zeros(rows, dtype=torch.bool, device=device)
    lingered = torch.zeros_like(stopped)

    before = lm.initial_state(rows) if state is None else state
    state, attention = _prefill(lm, forced, given, conditions, before)
    reading = None if window is None else Reading(window, conditions)
    place = None if reading is None else reading.first_place(attention, begin)
    if rules.temperature[0] == 0:
        repetition = None
    recent = given.new_full((rows, repetition.last if repetition else 0), PAD)
    column, step = _at(forced, given), given
    align = undelay(codebooks, START, device)
    aligner = align.initial_state(rows)

    steps = 0
    while steps < codebooks or bool((step - codebooks + 1 < lengths).any()):
        readable = conditions if reading is None or place is None else reading.readable(place)
        logits, state, attention = lm.step(column, state, readable)
        step = step + 1  # the column being made: codebook q says frame step - 1 - q
        allowed, over = go_on_or_stop if steps else go_on, None
        if reading is not None and place is not None:
            place = reading.followed(place, attention)
            may_stop, over = reading.may_stop(place), reading.has_to_stop(place) if steps else None
            allowed = allowed if may_stop is None else torch.where(may_stop[:, None, None], allowed, go_on)
        chosen = sample(logits, allowed, rules, generators)
        if repetition is not None:
            again = draw_again(chosen[:, 0], recent, logits[:, 0], allowed[..., 0, :], repetition, generators)
            chosen[:, 0] = again
            recent = torch.cat([recent[:, 1:], again[:, None]], 1)
        going_on = ~stopped & (step - 1 < lengths)
        ends = (chosen[:, 0] == STOP) & going_on
        stopped = stopped | ends
        if over is not None:
            lingered = lingered | over & going_on & ~stopped
            ends = ends | over & going_on
        lengths = torch.where(ends, step - 1, lengths)
        frame = (step - 1)[:, None] - book
        column = torch.where(frame < given[:, None], _at(forced, step), chosen)
        column = torch.where(frame >= lengths[:, None], STOP, column)
        tokens, aligner = align.step(column, aligner)
        done = step - codebooks
        complete = (done < lengths) & (done >= given)
        yield Frame((tokens - MARKS).clamp(min=0), complete, attention, step - 1 < lengths, stopped, lingered)
        steps += 1
    return Ending(column, state)


class Said(NamedTuple):
    """All that one row said, on the CPU."""

    codes: Int[Tensor, "T Q"]
    attention: Float[Tensor, "T J"]
    """Where each frame (of codebook 0) read the text."""
    stopped: bool
    lingered: bool = False
    """Ended by the window, with all of the text said."""


def collect(frames: Iterable[Frame]) -> list[Said]:
    """What each row says, whole."""
    codes: list[list[Tensor]] = []
    attention: list[list[Tensor]] = []
    stopped: list[bool] = []
    lingered: list[bool] = []
    for frame in frames:
        complete, speaking = frame.complete.tolist(), frame.speaking.tolist()
        stopped, lingered = frame.stopped.tolist(), frame.lingered.tolist()
        said, weights = frame.codes.cpu(), frame.attention.float().cpu()
        if not codes:
            codes, attention = [[] for _ in complete], [[] for _ in complete]
        for row in range(len(complete)):
            if complete[row]:
                codes[row].append(said[row])
            if speaking[row]:
                attention[row].append(weights[row])
    return [
        Said(torch.stack(c), torch.stack(a), *ended)
        for c, a, *ended in zip(codes, attention, stopped, lingered, strict=True)
    ]


def _prefill(
    lm: LanguageModel,
    columns: Int[Tensor, "B C Q"],
    given: Int[Tensor, "B"],
    conditions: Conditions,
    before: LMState,
) -> tuple[LMState, Float[Tensor, "B J"]]:
    """The state after each row has read its own first ``given`` columns, and where the last of them read the text.

    Rows that have as many read together.
    """
    parts, read, where = [], [], []
    for length in given.unique().tolist():
        rows = (given == length).nonzero()[:, 0]
        state = take_rows(before, rows)
        attention = torch.zeros(len(rows), conditions.text.mask.shape[-1], device=given.device)
        if length:
            _, state, weights = lm.parallel_forward(
                columns[rows, :length], state, take_rows(conditions, rows)
            )
            attention = weights[:, -1].float()
        parts.append(state)
        read.append(rows)
        where.append(attention)
    order = torch.cat(read).argsort()
    return take_rows(join_rows(parts), order), torch.cat(where)[order]


def _at(columns: Int[Tensor, "B C Q"], step: Int[Tensor, "B"]) -> Int[Tensor, "B Q"]:
    """Column ``step`` of each row; beyond the last, the last."""
    index = step.clamp(max=columns.shape[1] - 1)[:, None, None]
    return columns.take_along_dim(index, 1)[:, 0]


def _allowed(lm: LanguageModel, device: torch.device, stop: bool) -> Bool[Tensor, "Q V"]:
    token = torch.arange(lm.vocab, device=device)
    sizes = torch.tensor(lm.codebook_sizes, device=device)[:, None]
    codes = (token >= MARKS) & (token < sizes + MARKS)
    if stop:
        codes[0, STOP] = True
    return codes
