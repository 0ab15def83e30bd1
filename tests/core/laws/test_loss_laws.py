"""Laws of losses with their mutants."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lina.core.laws.training import training_law_cases
from lina.core.plugin import PluginConfig
from lina.core.training.loss_inputs import LossResult
from lina.core.training.plugin import LossPlugin
from lina.training.losses import CrossEntropy, CrossEntropyConfig, cross_entropy
from tests.core.laws.broken_laws import broken_laws


class Mutant(LossPlugin):
    """A loss with one mistake."""

    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": cls.Config()}


class BadDefaultConfig(PluginConfig):
    weight: bool = 3  # type: ignore[assignment]


class BadDefault(Mutant):
    Config = BadDefaultConfig

    @classmethod
    def build(cls, *, config: Any) -> Any:
        return cross_entropy


class NoFunction(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return 3


class Misspelled(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hiden: hiden.square().mean()


class PerTarget(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hidden: hidden.square().mean(-1)


class PlainNumber(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hidden: float(hidden.square().mean())


class DividesByNothing(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hidden: hidden.square().sum() / 0.0


class Detached(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hidden: hidden.detach().square().mean()


class Flat(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        return lambda hidden: (hidden * 0).sum()


class Drifts(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        calls = itertools.count(1)
        return lambda hidden: hidden.square().mean() * next(calls)


class Overwrites(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        def loss(logits: Tensor, targets: Tensor, loss_mask: Tensor) -> Tensor:
            targets[~loss_mask] = -100
            return F.cross_entropy(logits.flatten(0, 2), targets.flatten())

        return loss


class IgnoresTheMask(Mutant):
    @classmethod
    def build(cls, *, config: Any) -> Any:
        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(logits.clamp(min=-30).flatten(0, 2), targets.flatten())

        return loss


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (NoFunction, "builds"),
        (BadDefault, "config_defaults_are_valid"),
        (Misspelled, "reads_known_names"),
        (PerTarget, "loss_is_a_finite_scalar"),
        (PlainNumber, "loss_is_a_finite_scalar"),
        (DividesByNothing, "loss_is_a_finite_scalar"),
        (Detached, "loss_has_a_gradient"),
        (Flat, "loss_has_a_gradient"),
        (Drifts, "loss_repeats"),
        (Overwrites, "loss_inputs_stay"),
        (IgnoresTheMask, "masked_targets_do_not_count"),
    ],
)
def test_a_mutant_fails_first_by_the_law_of_its_mistake(plugin: type[LossPlugin], law: str) -> None:
    assert broken_laws(training_law_cases(plugin))[0] == law


@pytest.mark.parametrize(
    "plugin", [Detached, Flat, Drifts, Overwrites, IgnoresTheMask, BadDefault], ids=lambda one: one.__name__
)
def test_some_mistakes_fail_one_law_alone(plugin: type[LossPlugin]) -> None:
    assert len(broken_laws(training_law_cases(plugin))) == 1


class WithOptions(CrossEntropy):
    @classmethod
    def example(cls) -> dict[str, Any]:
        return {"config": CrossEntropyConfig(z_loss=0.1)}


class OfEverything(Mutant):
    """Reads all inputs, draws random numbers, and counts right predictions."""

    @classmethod
    def build(cls, *, config: Any) -> Any:
        def loss(
            hidden: Tensor, heads: Any, attention: Tensor, progress: Tensor, memory: Any, text: Tensor,
            model: Any, auxiliary: dict[str, Tensor],
        ) -> LossResult:  # fmt: skip
            noisy = F.dropout(hidden, 0.5).square().mean() + attention.square().sum(-1)[progress < 1].mean()
            read = memory.values[text].mean() + heads.weight.square().mean()
            return LossResult(
                noisy + read + auxiliary["router"], torch.zeros(len(heads.sizes), dtype=torch.int64)
            )

        return loss


@pytest.mark.parametrize("plugin", [CrossEntropy, WithOptions, OfEverything], ids=lambda one: one.__name__)
def test_right_losses_pass(plugin: type[LossPlugin]) -> None:
    assert broken_laws(training_law_cases(plugin)) == []
