"""Manager of the hook plugins installed in ``lina.hooks``. A failing plugin is logged once and disabled."""

import functools
import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pluggy

from lina.config.resolve import PluginChoice
from lina.core.errors import PluginError
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
    @functools.wraps(method)
    def call(*arguments: Any) -> Any:
        try:
            result = method(*arguments)
            return _checked_metrics(result) if method.__name__ == "step_metrics" else result
        except Exception as error:
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


def _checked_metrics(metrics: Any) -> dict[str, float]:
    """The metrics of a hook plugin as numbers, without those that are not finite.

    Raises:
        PluginError: they are no mapping of names to numbers, or a name is one of lina's own.
    """
    if not isinstance(metrics or {}, Mapping):
        raise PluginError(
            f"step_metrics gave a {type(metrics).__name__}, expected a mapping of names to numbers"
        )
    numbers: dict[str, float] = {}
    for name, value in (metrics or {}).items():
        if not isinstance(name, str) or name in OWN_METRICS:
            raise PluginError(
                f"step_metrics gave {name!r}, which is a metric of lina's own; choose another name"
            )
        number = float(value)
        if math.isfinite(number):
            numbers[name] = number
    return numbers
