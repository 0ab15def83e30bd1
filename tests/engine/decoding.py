"""Decode a batch of conditions with an engine, a slot per row unless told otherwise."""

from typing import Any

import torch
from torch import Tensor

from lina.core.generation.settings import Sampling
from lina.core.generation.stream_key import stream_key
from lina.core.model.delay_lm import Conditions
from lina.core.state import take_rows
from lina.engine.engine import Engine
from lina.engine.request import Request, RowResult

TEXTS = ([2, 3, 4, 5, 6, 7, 8], [9, 10, 11], [12, 2], [5])
SAMPLED = Sampling(temperature=1.0)


def requests(
    conditions: Conditions,
    sampling: Sampling = SAMPLED,
    *,
    max_frames: int = 30,
    seed: int = 0,
    rows: list[int] | None = None,
    prompt: Tensor | None = None,
    prompt_lengths: Tensor | None = None,
    begin: Tensor | None = None,
    **rest: Any,
) -> list[Request]:
    """A request per row; ``rows``: the places by which they draw, 0, 1, ... by default."""
    found = []
    for row in range(conditions.speaker.shape[0]):
        own = None if prompt is None else prompt[row]
        if own is not None and prompt_lengths is not None:
            own = own[: int(prompt_lengths[row])]
        found.append(
            Request(
                take_rows(conditions, torch.tensor([row])),
                sampling,
                max_frames,
                key=stream_key(seed, row if rows is None else rows[row]),
                prompt=own,
                begin=0 if begin is None else int(begin[row]),
                **rest,
            )
        )
    return found


def decode(
    lm: Any, conditions: Conditions, sampling: Sampling = SAMPLED, slots: int | None = None, **options: Any
) -> list[RowResult]:
    """The result of each row."""
    many = requests(conditions, sampling, **options)
    return list(Engine(lm, slots or len(many)).run(many))
