"""Learning-rate schedules: constant, linear, cosine, and WSD (warm-up, stable, decay), each after a linear warm-up."""

import math
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from lina.core.plugin import PluginConfig
from lina.core.training.plugin import Schedule, SchedulePlugin

EXAMPLE = {"steps": 40, "warmup": 5, "floor": 0.1}


def cosine_rate(step: int, *, steps: int, warmup: int, floor: float) -> float:
    """Linear warm-up over ``warmup`` steps, then half a cosine to ``floor`` (Loshchilov & Hutter, arXiv 1608.03983)."""
    if step <= warmup:
        return step / warmup
    return floor + (1 - floor) * (1 + math.cos(math.pi * _progress(step, warmup, steps))) / 2


def constant_rate(step: int, *, warmup: int) -> float:
    """Linear warm-up, then 1: the rate depends on no end, so a run that goes on equals one of more steps."""
    return step / warmup if step <= warmup else 1.0


def linear_rate(step: int, *, steps: int, warmup: int, floor: float) -> float:
    """Linear warm-up, then a straight line to ``floor``."""
    if step <= warmup:
        return step / warmup
    return 1.0 - (1 - floor) * _progress(step, warmup, steps)


def wsd_rate(step: int, *, steps: int, warmup: int, floor: float, decay: float, shape: str) -> float:
    """Linear warm-up, 1, and over the last ``decay`` of the steps down to ``floor`` (Hu et al. 2024, arXiv 2404.06395).

    ``shape`` sqrt is 1 - sqrt(progress) of Haegele et al. 2024, arXiv 2405.18392.
    """
    if step <= warmup:
        return step / warmup
    progress = _progress(step, max(warmup, steps - round(decay * steps)), steps)
    return 1.0 - (1 - floor) * (math.sqrt(progress) if shape == "sqrt" else progress)


def _progress(step: int, first: int, last: int) -> float:
    return min(1.0, max(0.0, (step - first) / max(1, last - first)))


class Cosine(SchedulePlugin):
    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        return partial(cosine_rate, steps=steps, warmup=warmup, floor=floor)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**EXAMPLE, "config": cls.Config()}


class Constant(SchedulePlugin):
    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        return partial(constant_rate, warmup=warmup)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**EXAMPLE, "config": cls.Config()}


class Linear(SchedulePlugin):
    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        return partial(linear_rate, steps=steps, warmup=warmup, floor=floor)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**EXAMPLE, "config": cls.Config()}


class WSDConfig(PluginConfig):
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of the steps, at the end, over which the learning rate falls to `train.min_lr`."""
    shape: Literal["sqrt", "linear"] = "sqrt"
    """Shape of the fall: `sqrt` is steep at first."""


class WSD(SchedulePlugin):
    Config = WSDConfig

    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: WSDConfig) -> Schedule:
        fixed = partial(wsd_rate, steps=steps, warmup=warmup, floor=floor)
        return partial(fixed, decay=config.decay, shape=config.shape)

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**EXAMPLE, "config": cls.Config()}
