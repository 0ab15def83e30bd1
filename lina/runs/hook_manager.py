"""Manager of the hook plugins installed in ``lina.hooks``. A failing plugin is logged once and disabled."""

import functools
import logging
from collections.abc import Callable, Collection
from typing import Any

import pluggy

from lina.core.errors import PluginError
from lina.core.registry import Record, find, load_record, records
from lina.runs.hooks import Hooks

log = logging.getLogger("lina")


def build_manager(names: Collection[str] | None = None) -> pluggy.PluginManager:
    """A manager whose ``.hook`` calls every installed hook plugin; broken ones are logged and left out.

    ``names`` are the plugins to load; all if None.
    """
    manager = pluggy.PluginManager("lina")
    manager.add_hookspecs(Hooks)
    for name in sorted({record.name for record in records("hook") if record.allowed}):
        if names is not None and name not in names:
            continue
        try:
            record = find("hook", name)
            add_plugin(manager, _instance(record, load_record(record)), str(record))
        except PluginError as error:
            log.warning("left out: %s", error)
    return manager


def _instance(record: Record, plugin: type) -> object:
    try:
        return plugin()
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
            return method(*arguments)
        except Exception as error:
            log.warning("%s failed in %s and is disabled from here on: %r", name, method.__name__, error)
            log.debug("its traceback:", exc_info=True)
            if manager.is_registered(guarded):
                manager.unregister(guarded)
            return None

    return call
