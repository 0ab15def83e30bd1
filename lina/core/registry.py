"""Plugins by name. Listing imports nothing; a plugin is imported only when it is named, and fails alone.

Knows entry points and the classes of ``lina.core.plugin``, but no plugin.
"""

import inspect
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal, overload

from lina.core.entry_points import ALLOW_LIST, GROUPS, Record, records, same_distribution
from lina.core.errors import PluginError, did_you_mean

__all__ = [
    "GROUPS",
    "MadeWith",
    "Record",
    "find",
    "load",
    "load_record",
    "records",
]

if TYPE_CHECKING:
    from lina.core.plugin import (
        BackbonePlugin,
        CodecPlugin,
        CorpusPlugin,
        Plugin,
        RecognizerPlugin,
        TokenizerPlugin,
    )
    from lina.core.training.plugin import LossPlugin, OptimizerPlugin, SchedulePlugin


@dataclass(frozen=True)
class MadeWith:
    """Distribution of a plugin that a run was made with."""

    distribution: str
    version: str

    @property
    def install(self) -> str:
        """Command that installs it."""
        pinned = "" if self.version in ("", "unknown") else f"=={self.version}"
        return f"pip install {self.distribution}{pinned}"

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()


def find(role: str, name: str, made_with: MadeWith | None = None) -> Record:
    """Find the one plugin of this role and name.

    Args:
        name: as the entry point, or ``distribution:name`` where two packages offer the same name.
        made_with: distribution and version of the plugin that a run was made with: that one is taken, and no other.

    Raises:
        PluginError: there is none, there are two, ``LINA_PLUGINS`` leaves it out, or it is not the run's.
    """
    distribution, colon, plain = name.rpartition(":")
    installed = records()
    same_role = [record for record in installed if record.role == role]
    found = [record for record in same_role if record.name == plain]
    if colon:
        found = [record for record in found if same_distribution(record.distribution, distribution)]
    if not found:
        raise PluginError(_unknown(role, name, plain if colon else name, installed, made_with))
    permitted = [record for record in found if record.allowed]
    if not permitted:
        raise PluginError(f"{found[0]} is left out by {ALLOW_LIST}; add {role}:{plain} to it")
    if made_with is not None and not colon:
        own = [one for one in permitted if same_distribution(one.distribution, made_with.distribution)]
        if not own:
            others = " and ".join(f"{one.distribution} {one.version}" for one in permitted)
            raise PluginError(
                f"this was made with {role}:{plain} of {made_with}, which is not installed (that of {others} is "
                f"another); {made_with.install}"
            )
        permitted = own
    if len(permitted) > 1:
        givers = " and ".join(f"{one.distribution} {one.version} ({one.value})" for one in permitted)
        choices = " or ".join(f"{one.distribution}:{one.name}" for one in permitted)
        raise PluginError(
            f"{len(permitted)} installed plugins are named {role}:{plain}: {givers}; write {choices} instead of "
            f"{plain}, or name the distributions to use in {ALLOW_LIST}, or uninstall all but one"
        )
    return permitted[0]


def _unknown(role: str, name: str, plain: str, installed: list[Record], made_with: MadeWith | None) -> str:
    same_role = [record for record in installed if record.role == role]
    named = [record for record in installed if record.name == plain]
    elsewhere = [record.full_name for record in named if record.role != role]
    offered = [f"{record.distribution}:{record.name}" for record in named if record.role == role]
    message = f"no {role} named {name!r} is installed"
    if made_with is not None:
        return f"{message}; this was made with {made_with}: {made_with.install}"
    if offered:
        return f"{message}{did_you_mean(name, offered)}"
    return (
        message
        + (f" ({', '.join(elsewhere)} is something else)" if elsewhere else "")
        + (
            did_you_mean(name, {record.name for record in same_role})
            or f"; no {role} is installed at all, not even lina's own: install lina again"
        )
    )


@overload
def load(role: Literal["backbone"], name: str) -> "type[BackbonePlugin]": ...
@overload
def load(role: Literal["codec"], name: str) -> "type[CodecPlugin]": ...
@overload
def load(role: Literal["tokenizer"], name: str) -> "type[TokenizerPlugin]": ...
@overload
def load(role: Literal["corpus"], name: str) -> "type[CorpusPlugin]": ...
@overload
def load(role: Literal["recognizer"], name: str) -> "type[RecognizerPlugin]": ...
@overload
def load(role: Literal["optimizer"], name: str) -> "type[OptimizerPlugin]": ...
@overload
def load(role: Literal["schedule"], name: str) -> "type[SchedulePlugin]": ...
@overload
def load(role: Literal["loss"], name: str) -> "type[LossPlugin]": ...
def load(role: str, name: str) -> "type[Plugin]":
    """Import and check the plugin class of this role and name.

    Raises:
        PluginError: unknown, named twice, left out, failing at import, or not a plugin of its role.
    """
    plugin: type[Plugin] = load_record(find(role, name))
    return plugin


def origin(part: object, role: str) -> str:
    """The plugin of an object, with distribution and file, for messages; the object's class if none is known."""
    module = type(part).__module__
    file = getattr(sys.modules.get(module), "__file__", None) or module
    same = [one for one in records(role) if one.value.partition(":")[0] == module]
    top = module.partition(".")[0]
    near = same or [one for one in records(role) if one.value.partition(":")[0].partition(".")[0] == top]
    if len(near) != 1:
        return f"{role} {type(part).__name__} ({file})"
    return f"{near[0].full_name} ({near[0].distribution} {near[0].version}, {file})"


def load_record(record: Record) -> Any:
    """Import the plugin of a record and check it against its role.

    Raises:
        PluginError: the import failed (by any exception, ``SystemExit`` too), or the object is no plugin.
    """
    entry = EntryPoint(record.name, record.value, GROUPS[record.role])
    if entry.pattern.match(entry.value) is None:
        raise PluginError(
            f"{record} cannot be loaded: its entry point is not module:name; report this to the authors of "
            f"{record.distribution}"
        )
    try:
        plugin = entry.load()
        _check(record, plugin)
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(f"{record} cannot be loaded: {cause}; {_remedy(record, error)}") from error
    return plugin


def _remedy(record: Record, error: BaseException) -> str:
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    own = record.value.partition(":")[0].partition(".")[0]
    if missing and missing != own:
        return f"install the package that provides {missing!r}"
    return f"reinstall or upgrade {record.distribution}, or report this to its authors"


def _check(record: Record, plugin: Any) -> None:
    if record.role == "hook":
        if not isinstance(plugin, type):
            raise PluginError(f"{record} is {plugin!r}, but a hook plugin is a class; fix its entry point")
        if hasattr(plugin, "Config"):
            _check_config(record, plugin)
        return
    from lina.core import plugin as contracts
    from lina.core.training import plugin as training

    base: Any = {
        "backbone": contracts.BackbonePlugin,
        "codec": contracts.CodecPlugin,
        "tokenizer": contracts.TokenizerPlugin,
        "corpus": contracts.CorpusPlugin,
        "recognizer": contracts.RecognizerPlugin,
        "optimizer": training.OptimizerPlugin,
        "schedule": training.SchedulePlugin,
        "loss": training.LossPlugin,
    }[record.role]
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise PluginError(
            f"{record} is {plugin!r}, but a {record.role} plugin is a class that derives from "
            f"lina.core.{base.__name__}; fix its class or its entry point"
        )
    _check_contract(record, plugin, base)


def _check_contract(record: Record, plugin: Any, base: Any) -> None:
    from lina.core import plugin as contracts

    if plugin.plugin_api != contracts.PLUGIN_API:
        raise PluginError(
            f"{record} is written for plugin_api {plugin.plugin_api}, but this lina has plugin_api "
            f"{contracts.PLUGIN_API}; install versions of {record.distribution} and lina that agree"
        )
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        raise PluginError(f"{record} lacks {', '.join(missing)}; see lina.core.{base.__name__}")
    _check_config(record, plugin)


def _check_config(record: Record, plugin: Any) -> None:
    from lina.core import plugin as contracts

    if not (inspect.isclass(plugin.Config) and issubclass(plugin.Config, contracts.PluginConfig)):
        raise PluginError(
            f"{record} has a Config that is {plugin.Config!r}, but it must derive from lina.core.PluginConfig"
        )
