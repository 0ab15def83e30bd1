"""Manager of the hook plugins installed in ``lina.hooks``. A failing plugin is logged once and disabled."""

import functools
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pluggy

from lina.config.resolve import PluginChoice
from lina.core.errors import ContractError, PluginError
from lina.core.registry import Record, find, load_record, records
from lina.runs.hooks import Hooks
from lina.runs.records import MetricsRecord

log = logging.getLogger("lina")


def build_manager(
    names: Collection[str] | None = None, chosen: Sequence[PluginChoice[Any]] = ()
) -> pluggy.PluginManager:
    """A manager whose ``.hook`` calls every installed hook plugin; broken ones are logged and left out.

    Args:
        names: plugins to load of those that act on every run; all if None.
        chosen: the hook plugins that a spec names, which have a ``Config`` and act on its run alone.

    Raises:
        PluginError: a plugin of ``chosen`` cannot be used.
    """
    manager = pluggy.PluginManager("lina")
    manager.add_hookspecs(Hooks)
    for name in sorted({record.name for record in records("hook") if record.allowed}):
        if names is not None and name not in names:
            continue
        try:
            record = find("hook", name)
            plugin = load_record(record)
            if not hasattr(plugin, "Config"):
                add_plugin(manager, _instance(record, plugin), str(record))
        except PluginError as error:
            log.warning("left out: %s", error)
    for one in chosen:
        add_plugin(manager, _instance(one.record, one.plugin, config=one.config), str(one.record))
    return manager


def _instance(record: Record, plugin: type, **options: Any) -> object:
    try:
        return plugin(**options)
    except PluginError as error:
        raise PluginError(f"{record}: {error}") from error
    except Exception as error:
        raise PluginError(f"{record} cannot be instantiated: {type(error).__name__}: {error}") from error


def add_plugin(manager: pluggy.PluginManager, plugin: object, name: str) -> None:
    """Register ``plugin``; an exception in one of its hooks is logged and disables the plugin.

    A wrong result of ``step_metrics`` at its first call is an error instead, which ends the run at its first step.

    Raises:
        PluginError: it implements no hook or an unknown one, or takes arguments that its hook does not have.
    """
    guarded = _Guarded()
    methods = [attribute for attribute in dir(plugin) if not attribute.startswith("__")]
    hooks = [method for method in methods if manager.parse_hookimpl_opts(plugin, method) is not None]
    if not hooks:
        raise PluginError(f"{name} implements no hook; mark its methods with lina.hookimpl")
    for method in hooks:
        setattr(guarded, method, _guard(manager, guarded, name, getattr(plugin, method)))
    try:
        manager.register(guarded, name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        if manager.is_registered(guarded):
            manager.unregister(guarded)
        raise PluginError(f"{name} does not fit the hooks: {' '.join(str(error).split())}") from error


class _Guarded:
    """Proxy of a plugin in the manager; its attributes are the plugin's hooks with error handling."""


def _guard(
    manager: pluggy.PluginManager, guarded: _Guarded, name: str, method: Callable[..., Any]
) -> Callable[..., Any]:
    checked = False

    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        nonlocal checked
        try:
            result = method(*arguments)
            if method.__name__ == "step_metrics":
                result, checked = _checked_metrics(result), True
            return result
        except Exception as error:
            if isinstance(error, _WrongMetrics) and not checked:
                raise ContractError(f"{name}: {error}") from None
            log.warning("%s failed in %s and is disabled from here on: %r", name, method.__name__, error)
            log.debug("its traceback:", exc_info=True)
            if manager.is_registered(guarded):
                manager.unregister(guarded)
            return None

    return call


OWN_METRICS = frozenset(
    name
    for key, field in MetricsRecord.model_fields.items()
    for name in (key, field.alias or key, "guided_attention", "auxiliary")
)


class _WrongMetrics(ContractError):
    """A result of ``step_metrics`` that is no mapping of names to numbers."""


def _checked_metrics(metrics: Any) -> dict[str, float]:
    """The metrics of a hook plugin as numbers, without those that are not finite.

    Raises:
        ContractError: they are no mapping of names to numbers, or a name is one of lina's own.
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        raise _WrongMetrics(
            f"step_metrics returned a {type(metrics).__name__}; it must return a mapping of names to numbers"
        )
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if not isinstance(name, str):
            raise _WrongMetrics(f"step_metrics returned the name {name!r}; names of metrics are texts")
        if name in OWN_METRICS:
            raise _WrongMetrics(
                f"step_metrics returned {name!r}, which is a metric of lina's own; choose another name"
            )
        number = _number(name, value)
        if math.isfinite(number):
            numbers[name] = number
    return numbers


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, str):
            return float(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    shape = getattr(value, "shape", None)
    found = f"a {type(value).__name__}{'' if shape is None else f' {list(shape)}'}"
    raise _WrongMetrics(f"step_metrics returned {found} as {name!r}; values must be numbers")
