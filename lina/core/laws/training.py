"""Laws of optimizers, schedules and losses: a resumed run repeats what an unbroken one does.

``lina.core.laws.law_cases`` gives those of backbones, codecs and tokenizers.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from lina.core.errors import PluginError
from lina.core.laws.building import CONFIG_DEFAULTS_ARE_VALID
from lina.core.laws.law import Conditions, Law, LawCase, Violation
from lina.core.laws.loss import LOSS_LAWS
from lina.core.laws.stream import SEED
from lina.core.plugin import PLUGIN_API, Plugin
from lina.core.protocols import implements
from lina.core.training.plugin import LossPlugin, OptimizerPlugin, Optimizes, ParameterGroups, SchedulePlugin

STEPS = 12


def training_law_cases(plugin: type[Plugin]) -> list[LawCase]:
    """Every law of an optimizer, a schedule or a loss, for ``pytest.mark.parametrize(..., ids=str)``.

    Raises:
        PluginError: it is none of them.
    """
    laws: tuple[Law, ...]
    if issubclass(plugin, OptimizerPlugin):
        laws = OPTIMIZER_LAWS
    elif issubclass(plugin, SchedulePlugin):
        laws = SCHEDULE_LAWS
    elif issubclass(plugin, LossPlugin):
        laws = LOSS_LAWS
    else:
        raise PluginError(f"{plugin.__name__}: is no optimizer, schedule or loss, which have laws here")
    return [LawCase(plugin, law, Conditions()) for law in (BUILDS, CONFIG_DEFAULTS_ARE_VALID, *laws)]


def builds(plugin: type[Plugin], conditions: Conditions) -> None:
    if plugin.plugin_api != PLUGIN_API:
        raise Violation(f"plugin_api: expected {PLUGIN_API}, found {plugin.plugin_api!r}")
    built = _build(plugin)
    if issubclass(plugin, SchedulePlugin) and not callable(built):
        raise Violation(f"expected a function of the step, found a {type(built).__name__}")
    if issubclass(plugin, LossPlugin) and not callable(built):
        raise Violation(f"expected a function of tensors, found a {type(built).__name__}")
    if issubclass(plugin, OptimizerPlugin) and not implements(built, Optimizes):
        raise Violation(f"expected a torch.optim.Optimizer, found a {type(built).__name__}")


def rates_are_fractions(plugin: type[Plugin], conditions: Conditions) -> None:
    """The peak is ``train.lr``: a schedule only scales it."""
    example, schedule = plugin.example(), _build(plugin)
    rates = {step: schedule(step) for step in range(1, example["steps"] + 1)}
    for step, rate in rates.items():
        if not (isinstance(rate, float | int) and math.isfinite(rate) and 0.0 <= rate <= 1.0):
            raise Violation(f"step {step}: expected a number from 0 to 1, found {rate!r}")
    if not any(rates.values()):
        raise Violation("the rate is 0 in every step; nothing would be learned")


def rate_follows_the_step(plugin: type[Plugin], conditions: Conditions) -> None:
    """A resumed run begins in the middle, with a schedule of its own."""
    schedule, fresh = _build(plugin), _build(plugin)
    steps = range(1, plugin.example()["steps"] + 1)
    forwards = [schedule(step) for step in steps]
    backwards = [fresh(step) for step in reversed(steps)][::-1]
    for step, one, other in zip(steps, forwards, backwards, strict=True):
        if one != other:
            raise Violation(
                f"step {step}: {one} after the steps before it, {other} after the later ones; keep no state"
            )


def lowers_a_loss(plugin: type[Plugin], conditions: Conditions) -> None:
    groups, optimizer = _optimizer(plugin)
    first = float(_loss(groups).detach())
    _run(optimizer, groups, STEPS)
    last = float(_loss(groups).detach())
    if not last < first:
        raise Violation(f"a sum of squares was {first:.4g} and is {last:.4g} after {STEPS} steps")


def follows_the_rate(plugin: type[Plugin], conditions: Conditions) -> None:
    groups, optimizer = _optimizer(plugin)
    _run(optimizer, groups, 2)
    before = [one.detach().clone() for one in _all(groups)]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    _run(optimizer, groups, 1)
    for place, (parameter, value) in enumerate(zip(_all(groups), before, strict=True)):
        if not torch.equal(parameter, value):
            raise Violation(f'parameter {place} changed in a step whose param_groups have "lr": 0')


def optimizer_resumes(plugin: type[Plugin], conditions: Conditions) -> None:
    """Checkpoints hold tensors and numbers of ``state``, and numbers of the groups."""
    groups, optimizer = _optimizer(plugin)
    _run(optimizer, groups, STEPS // 2)
    others, fresh = _optimizer(plugin)
    with torch.no_grad():
        for target, source in zip(_all(others), _all(groups), strict=True):
            target.copy_(source)
    fresh.load_state_dict(_stored(optimizer, fresh))
    for one, several in ((optimizer, groups), (fresh, others)):
        _run(one, several, STEPS // 2)
    for place, (value, expected) in enumerate(zip(_all(others), _all(groups), strict=True)):
        if not torch.equal(value, expected):
            difference = float((value - expected).detach().abs().max())
            raise Violation(
                f"parameter {place} differs by {difference:.3g} after a restart; store all in state"
            )


def _stored(optimizer: torch.optim.Optimizer, fresh: torch.optim.Optimizer) -> dict[str, Any]:
    """Checkpoint contents, as ``lina.runs.checkpoint`` writes them."""
    saved = copy.deepcopy(optimizer.state_dict())
    for entries in saved["state"].values():
        for key, value in entries.items():
            if not (value is None or isinstance(value, Tensor | bool | int | float | str)):
                raise Violation(
                    f"state keeps a {type(value).__name__} in {key!r}; keep tensors and numbers only"
                )
    own = fresh.state_dict()["param_groups"]
    numbers = [
        {key: value for key, value in group.items() if type(value) in (int, float)}
        for group in saved["param_groups"]
    ]
    return saved | {"param_groups": [one | more for one, more in zip(own, numbers, strict=True)]}


def _build(plugin: type[Plugin]) -> Any:
    torch.manual_seed(SEED)
    return plugin.build(**plugin.example())  # type: ignore[attr-defined]


def _optimizer(plugin: type[Plugin]) -> tuple[ParameterGroups, torch.optim.Optimizer]:
    torch.manual_seed(SEED)
    example = plugin.example()
    return example["parameters"], plugin.build(**example)  # type: ignore[attr-defined]


def _all(groups: ParameterGroups) -> list[nn.Parameter]:
    return [parameter for several in groups for parameter in several]


def _loss(groups: ParameterGroups) -> Tensor:
    return torch.stack([(one**2).sum() for one in _all(groups)]).sum()


def _run(optimizer: torch.optim.Optimizer, groups: ParameterGroups, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        _loss(groups).backward()
        optimizer.step()


BUILDS = Law("builds", "build(**example()) gives an optimizer, a schedule or a loss.", builds, dtypes=())
SCHEDULE_LAWS = (
    Law(
        "rates_are_fractions",
        "The rate of every step is a number from 0 to 1, and not always 0.",
        rates_are_fractions,
        dtypes=(),
    ),
    Law(
        "rate_follows_the_step",
        "The rate is a function of the step alone.",
        rate_follows_the_step,
        dtypes=(),
    ),
)
OPTIMIZER_LAWS = (
    Law("lowers_a_loss", "Steps along the gradient lower a sum of squares.", lowers_a_loss, dtypes=()),
    Law("follows_the_rate", 'A step whose groups have "lr": 0 changes nothing.', follows_the_rate, dtypes=()),
    Law(
        "optimizer_resumes",
        "An optimizer restored from tensors and numbers goes on bit for bit.",
        optimizer_resumes,
        dtypes=(),
    ),
)
