"""Laws of hook plugins: their hooks exist and take the right arguments. Nothing is run or instantiated."""

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from lina.core.errors import did_you_mean
from lina.core.laws.building import CONFIG_DEFAULTS_ARE_VALID
from lina.core.laws.law import Conditions, Law, LawCase, NotApplicable, Violation
from lina.runs.hooks import Hooks

HOOKS = {name: method for name, method in vars(Hooks).items() if hasattr(method, "lina_spec")}
MARK = "lina_impl"
"""Attribute that ``hookimpl`` sets."""


def hook_law_cases(plugin: type) -> list[LawCase]:
    """Every law of a hook plugin, for ``pytest.mark.parametrize(..., ids=str)``."""
    return [LawCase(plugin, law, Conditions()) for law in HOOK_LAWS]


def can_be_instantiated(plugin: Any, conditions: Conditions) -> None:
    signature = inspect.signature(plugin)
    arguments = ("config",) if hasattr(plugin, "Config") else ()
    try:
        signature.bind(**dict.fromkeys(arguments))
    except TypeError as error:
        expected = f"{plugin.__name__}({'config=...' if arguments else ''})"
        raise Violation(f"lina calls {expected}, but its signature is {signature}: {error}") from None


def config_defaults_are_valid(plugin: Any, conditions: Conditions) -> None:
    if not hasattr(plugin, "Config"):
        raise NotApplicable("it has no Config")
    like: Any = SimpleNamespace(Config=plugin.Config, example=dict)
    CONFIG_DEFAULTS_ARE_VALID.test(like, conditions)


def implements_a_hook(plugin: Any, conditions: Conditions) -> None:
    if all(options is None for _, _, options in _methods(plugin)):
        raise Violation("no method carries @hookimpl, so nothing would ever be called")


def hooks_are_marked(plugin: Any, conditions: Conditions) -> None:
    for name, _, options in _methods(plugin):
        if name in HOOKS and options is None:
            raise Violation(f"{name} has the name of a hook but no @hookimpl, so it would never be called")


def hooks_exist(plugin: Any, conditions: Conditions) -> None:
    for name, _, options in _methods(plugin):
        hook = _hook_of(name, options)
        if hook is not None and hook not in HOOKS and not (options or {}).get("optionalhook"):
            raise Violation(f"there is no hook {hook!r}{did_you_mean(hook, HOOKS)}")


def hook_arguments_exist(plugin: Any, conditions: Conditions) -> None:
    for name, method, options in _methods(plugin):
        hook = _hook_of(name, options)
        if hook not in HOOKS:
            continue
        known = list(inspect.signature(HOOKS[hook]).parameters)[1:]
        static = isinstance(inspect.getattr_static(plugin, name), staticmethod | classmethod)
        for one in list(inspect.signature(method).parameters.values())[0 if static else 1 :]:
            # pluggy passes by name what has no default.
            passed = one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty
            if passed and one.name not in known:
                raise Violation(f"{hook} has no argument {one.name!r}{did_you_mean(one.name, known)}")


def _methods(plugin: Any) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Name and function of each public method, and the options of its ``hookimpl``, if it carries that."""
    for name in dir(plugin):
        method = getattr(plugin, name)
        if not name.startswith("__") and inspect.isroutine(method):
            yield name, method, getattr(method, MARK, None)


def _hook_of(method: str, options: dict[str, Any] | None) -> str | None:
    """Name of the hook that a method implements."""
    return None if options is None else options.get("specname") or method


HOOK_LAWS = (
    Law(
        "can_be_instantiated",
        "The class takes config if it has a Config, and nothing else that is needed.",
        can_be_instantiated,
        dtypes=(),
    ),
    Law(
        "config_defaults_are_valid",
        CONFIG_DEFAULTS_ARE_VALID.statement,
        config_defaults_are_valid,
        dtypes=(),
    ),
    Law("implements_a_hook", "At least one method carries hookimpl.", implements_a_hook, dtypes=()),
    Law(
        "hooks_are_marked",
        "Each method with the name of a hook carries hookimpl.",
        hooks_are_marked,
        dtypes=(),
    ),
    Law("hooks_exist", "Each method that carries hookimpl has the name of a hook.", hooks_exist, dtypes=()),
    Law(
        "hook_arguments_exist",
        "A hook's method names arguments that its hook has.",
        hook_arguments_exist,
        dtypes=(),
    ),
)
