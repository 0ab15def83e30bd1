"""Schedules of the learning rate, and the laws of schedules and optimizers with their mutants."""

from typing import Any

import pytest
import torch

from lina.core.laws.training import training_law_cases
from lina.core.plugin import Plugin
from lina.core.training.plugin import OptimizerPlugin, Schedule, SchedulePlugin
from lina.training.optimizer import example_parameters
from lina.training.schedules import constant_rate, cosine_rate, linear_rate, wsd_rate
from tests.core.laws.broken_laws import broken_laws


@pytest.mark.parametrize(
    ("step", "rate"),
    [(1, 0.25), (2, 0.5), (4, 1.0), (8, 0.55), (12, 0.1), (13, 0.1), (6, 0.1 + 0.9 * (1 + 0.5**0.5) / 2)],
)
def test_cosine(step: int, rate: float) -> None:
    assert cosine_rate(step, steps=12, warmup=4, floor=0.1) == pytest.approx(rate)


def test_cosine_without_warm_up_and_with_nothing_but_warm_up() -> None:
    assert cosine_rate(1, steps=1, warmup=0, floor=0.5) == pytest.approx(0.5)
    assert cosine_rate(3, steps=3, warmup=6, floor=0.5) == pytest.approx(0.5)
    assert cosine_rate(6, steps=6, warmup=6, floor=0.5) == pytest.approx(1.0)


def test_the_other_schedules_by_hand() -> None:
    assert [constant_rate(step, warmup=2) for step in (1, 2, 3, 99)] == [0.5, 1.0, 1.0, 1.0]
    linear = [linear_rate(step, steps=10, warmup=2, floor=0.2) for step in (1, 2, 6, 10, 11)]
    assert linear == pytest.approx([0.5, 1.0, 0.6, 0.2, 0.2])
    options: dict[str, Any] = {"steps": 20, "warmup": 2, "floor": 0.1, "decay": 0.2}
    steps = (1, 16, 17, 20)
    straight = [wsd_rate(step, shape="linear", **options) for step in steps]
    assert straight == pytest.approx([0.5, 1.0, 1 - 0.9 / 4, 0.1])
    steep = [wsd_rate(step, shape="sqrt", **options) for step in steps]
    assert steep == pytest.approx([0.5, 1.0, 0.55, 0.1])


def test_the_decay_of_wsd_never_begins_before_the_end_of_the_warm_up() -> None:
    rates = [
        wsd_rate(step, steps=10, warmup=8, floor=0.0, decay=1.0, shape="linear") for step in range(8, 11)
    ]
    assert rates == pytest.approx([1.0, 0.5, 0.0])


class Mutant(SchedulePlugin):
    """A schedule with one mistake."""

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"steps": 6, "warmup": 1, "floor": 0.1, "config": cls.Config()}


class AbsoluteRate(Mutant):
    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        return lambda step: 3.0 / step


class Counts(Mutant):
    @classmethod
    def build(cls, *, steps: int, warmup: int, floor: float, config: Any) -> Schedule:
        calls: list[int] = []

        def rate(step: int) -> float:
            calls.append(step)
            return 1.0 / len(calls)

        return rate


class OptimizerMutant(OptimizerPlugin):
    """An optimizer with one mistake."""

    optimizer: type[torch.optim.Optimizer]

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {**example_parameters(), "config": cls.Config()}

    @classmethod
    def build(cls, *, parameters: Any, lr: float, config: Any, **options: Any) -> torch.optim.Optimizer:
        return cls.optimizer([one for several in parameters for one in several], lr=lr)  # type: ignore[call-arg]


class Ascends(OptimizerMutant):
    class optimizer(torch.optim.SGD):  # noqa: N801
        def __init__(self, parameters: Any, lr: float) -> None:
            super().__init__(parameters, lr=lr, maximize=True)


class IgnoresTheRate(OptimizerMutant):
    class optimizer(torch.optim.SGD):  # noqa: N801
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for group in self.param_groups:
                group["lr"] = 0.02
            super().step()


class Forgets(OptimizerMutant):
    class optimizer(torch.optim.SGD):  # noqa: N801
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.count = getattr(self, "count", 0) + 1
            scale = 1 / self.count
            for group in self.param_groups:
                for one in group["params"]:
                    one.data -= group["lr"] * scale * one.grad


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (AbsoluteRate, "rates_are_fractions"),
        (Counts, "rate_follows_the_step"),
        (Ascends, "lowers_a_loss"),
        (IgnoresTheRate, "follows_the_rate"),
        (Forgets, "optimizer_resumes"),
    ],
)
def test_each_law_has_a_mutant_that_only_it_finds(plugin: type[Plugin], law: str) -> None:
    assert broken_laws(training_law_cases(plugin)) == [law]
