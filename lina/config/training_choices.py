"""Resolve the plugins that only a run needs, not its voice: optimizer, schedule, loss, hooks. Builds nothing."""

from dataclasses import dataclass
from typing import Any, TypeVar

from lina.config.resolve import PluginChoice, as_written, choose_plugin, name_and_options
from lina.config.source_map import Key
from lina.config.spec import AnySpec, Spec
from lina.core.registry import Record
from lina.core.training.plugin import LossPlugin, OptimizerPlugin, SchedulePlugin

A = TypeVar("A", bound=AnySpec)
ROLES = ("optimizer", "schedule", "loss")
"""Roles that the section ``train`` names, each by the key of its name."""


@dataclass(frozen=True)
class TrainingChoices:
    """Plugins of a spec's section ``train``."""

    optimizer: PluginChoice[OptimizerPlugin]
    schedule: PluginChoice[SchedulePlugin]
    loss: PluginChoice[LossPlugin]

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(getattr(self, role).record for role in ROLES)

    def place(self, spec: Spec) -> Spec:
        """The spec with absolute paths in the options of these plugins."""
        named: dict[str, Any] = {}
        for role in ROLES:
            options = as_written(getattr(self, role).config)
            name, _ = name_and_options(getattr(spec.train, role))
            named[role] = {name: options} if options else name
        return spec.model_copy(update={"train": spec.train.model_copy(update=named)})


def training_choices(spec: Spec) -> TrainingChoices:
    """Load the plugins that ``spec.train`` names and check their options.

    Raises:
        PluginError: a plugin is unknown or broken; the message names file and line of the spec.
        SpecError: options do not fit their plugin.
    """

    def choose(role: str) -> PluginChoice[Any]:
        named = getattr(spec.train, role)
        name, options = name_and_options(named)
        key: Key = ("train", role) if isinstance(named, str) else ("train", role, name)
        return choose_plugin(role, name, options, spec.origin, key, key)

    return TrainingChoices(*(choose(role) for role in ROLES))


def hook_choices(spec: AnySpec) -> tuple[PluginChoice[Any], ...]:
    """Load the hook plugins that ``hooks`` names and check their options.

    Raises:
        PluginError: a plugin is unknown, broken, or takes no options.
        SpecError: options do not fit their plugin.
    """
    return tuple(
        choose_plugin("hook", name, options or {}, spec.origin, ("hooks", name), ("hooks", name))
        for name, options in spec.hooks.items()
    )


def place_hooks(spec: A, chosen: tuple[PluginChoice[Any], ...]) -> A:
    """The spec with absolute paths in the options of its hooks."""
    placed = {name: as_written(one.config) for name, one in zip(spec.hooks, chosen, strict=True)}
    return spec.model_copy(update={"hooks": placed})
