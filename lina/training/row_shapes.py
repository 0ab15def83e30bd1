"""Shapes of fixed rows, chosen from the plan of a run: a few that hold its micro-batches with little padding.

Each shape costs a CUDA graph. They are a function of corpus and spec, so that a resumed run pads as the first one did.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lina.data.training_data import TrainingData
from lina.training.fixed_rows import MULTIPLE, RowShape
from lina.training.shape_buckets import next_size

SHAPES = 24
"""In corpora of sentences 2 to 3 % of a row is padding then."""
LOOKED_AT = 1000
"""Micro-batches from which shapes are chosen, the first ones of the plan."""
LETTER = 0.25
"""Cost of a letter in frames: text encoders have fewer layers than backbones."""
GROUPS, FRAMES, STEPS, TEXT = range(4)

Needs = NDArray[np.int64]
"""A row per micro-batch: the numbers of ``Need``."""


class Need(NamedTuple):
    """The least shape of a micro-batch."""

    groups: int
    frames: int
    """Of the longest utterance."""
    steps: int
    """Steps of all utterances, less one for each: a shape has one of padding for each that is missing."""
    text: int


class RowShapes:
    """The shapes of a run."""

    def __init__(self, needs: Sequence[Need], consecutive: int, budget: int) -> None:
        """``needs`` of micro-batches with groups of up to ``consecutive`` utterances, and ``budget`` frames."""
        self.consecutive, self.budget = consecutive, budget
        clusters = split(np.array(needs, dtype=np.int64).reshape(-1, len(Need._fields)), consecutive)
        self.shapes = [self._round(Need(*map(int, one.max(0)))) for one in clusters]

    def of(self, need: Need) -> RowShape:
        """The cheapest shape in which a micro-batch fits; one of its own, rounded coarsely, if there is none."""
        fitting = [shape for shape in self.shapes if self._fits(need, shape)]
        if fitting:
            return min(fitting, key=lambda shape: shape.steps + LETTER * shape.utterances * shape.text)
        groups, text = next_size(need.groups, 4), 16 * next_size(-(-need.text // 16), 2)
        part = max(1, self.budget // 16)
        return self._round(Need(groups, need.frames, need.steps + -need.steps % part, text))

    def _fits(self, need: Need, shape: RowShape) -> bool:
        steps = need.steps + shape.utterances + 1
        least = RowShape(need.groups, 0, need.frames, steps, need.text)
        return all(few <= many for few, many in zip(least, shape, strict=True))

    def _round(self, need: Need) -> RowShape:
        utterances = need.groups * self.consecutive
        steps = need.steps + utterances + 1
        frames, text = 32 * next_size(-(-need.frames // 32), 1, 1), need.text + -need.text % 16
        return RowShape(need.groups, utterances, frames, steps + -steps % MULTIPLE, text)


def split(needs: Needs, consecutive: int) -> list[Needs]:
    """Clusters of micro-batches, one for each shape: the costliest cluster is split where that saves most."""
    clusters, waste = [needs], [_waste(needs, consecutive)]
    while len(clusters) < SHAPES and max(waste) > 0:
        number = int(np.argmax(waste))
        parts = _halves(clusters.pop(number), consecutive)
        del waste[number]
        clusters += parts
        waste += [_waste(one, consecutive) for one in parts]
    return clusters


def _halves(needs: Needs, consecutive: int) -> list[Needs]:
    found: list[tuple[float, list[Needs]]] = []
    for key in (GROUPS, STEPS, TEXT):
        order = needs[np.argsort(needs[:, key], kind="stable")]
        count = np.arange(1, len(order))
        first = _cost(np.maximum.accumulate(order), consecutive)[:-1] * count
        second = _cost(np.maximum.accumulate(order[::-1])[::-1], consecutive)[1:] * count[::-1]
        at = int(np.argmin(first + second))
        found.append((float((first + second)[at]), [order[: at + 1], order[at + 1 :]]))
    return min(found, key=lambda one: one[0])[1]


def _waste(needs: Needs, consecutive: int) -> float:
    if len(needs) < 2:
        return 0.0
    return float(len(needs) * _cost(needs.max(0)[None], consecutive)[0] - _cost(needs, consecutive).sum())


def _cost(needs: Needs, consecutive: int) -> NDArray[np.float64]:
    utterances = needs[:, GROUPS] * consecutive
    return np.asarray(needs[:, STEPS] + utterances * (1 + LETTER * needs[:, TEXT]), dtype=np.float64)


def need_of(data: TrainingData, groups: Sequence[Sequence[int]]) -> Need:
    """The need of a micro-batch whose groups are utterances, by their numbers in the corpus."""
    numbers = [number for group in groups for number in group]
    lengths = [data.lengths[number] for number in numbers]
    text = max(len(data.texts[number]) for number in numbers)
    codebooks = data.codes(numbers[0]).shape[1]
    return Need(len(groups), max(lengths), sum(lengths) + len(numbers) * (codebooks - 1), max(1, text))
