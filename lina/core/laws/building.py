"""The first laws, of all roles: the example builds an object of its role; defaults of its configuration are valid."""

from typing import Any

from pydantic import ValidationError
from torch import nn

from lina.core.errors import PluginError
from lina.core.laws.law import Conditions, Law, NotApplicable, Violation
from lina.core.laws.stream import seeded_build
from lina.core.model.contract import check_backbone
from lina.core.plugin import PLUGIN_API, BackbonePlugin, CodecPlugin, Plugin, TokenizerPlugin
from lina.core.protocols import Backbone, Codec, StreamingCodec, Tokenizer, implements, members

_ROLES: dict[Any, tuple[str, tuple[Any, ...]]] = {
    BackbonePlugin: ("backbone", (Backbone,)),
    CodecPlugin: ("codec", (StreamingCodec, Codec)),
    TokenizerPlugin: ("tokenizer", (Tokenizer,)),
}


def role_of(plugin: type[Plugin]) -> str:
    """Role of a plugin, from its base class: ``backbone``, ``codec`` or ``tokenizer``.

    Raises:
        PluginError: another role. A corpus has no laws: its mistakes are rejects when it is read.
    """
    for base, (role, _) in _ROLES.items():
        if issubclass(plugin, base):
            return role
    raise PluginError(
        f"{plugin.__name__}: no laws apply to it; backbones, codecs and tokenizers have laws, a corpus is "
        "checked by reading it"
    )


def _builds(plugin: type[Plugin], conditions: Conditions) -> None:
    if plugin.plugin_api != PLUGIN_API:
        raise Violation(f"plugin_api: expected {PLUGIN_API}, found {plugin.plugin_api!r}")
    built = seeded_build(plugin)
    _, protocols = next(entry for base, entry in _ROLES.items() if issubclass(plugin, base))
    if not any(implements(built, protocol) for protocol in protocols):
        missing = {name for name in members(protocols[0]) if not hasattr(built, name)}
        raise Violation(
            f"{type(built).__name__} is no {' and no '.join(p.__name__ for p in protocols)}: it has no "
            f"{', '.join(sorted(missing))}"
        )
    if isinstance(built, nn.Module) and issubclass(plugin, BackbonePlugin):
        try:
            check_backbone(built, int(plugin.example()["d_model"]))
        except PluginError as error:
            raise Violation(str(error)) from None


BUILDS = Law(
    "builds",
    "build(**example()) gives an object of its role's protocol, whose forms return what it says.",
    _builds,
    dtypes=(),
)


def _config_defaults_are_valid(plugin: type[Plugin], conditions: Conditions) -> None:
    """Pydantic does not validate defaults, so a spec that leaves the key out would get a value that no spec may set."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in plugin.Config.model_fields.items()
        if not field.is_required()
    }
    if not defaults:
        raise NotApplicable("its Config has no key with a default")
    example = plugin.example().get("config")
    set_here = {
        name: getattr(example, name)
        for name, field in plugin.Config.model_fields.items()
        if field.is_required() and hasattr(example, name)
    }
    for name, default in defaults.items():
        try:
            plugin.Config.model_validate(set_here | {name: default})
        except ValidationError as refusal:
            own = [error for error in refusal.errors() if error["loc"][:1] == (name,)]
            if own:
                raise Violation(
                    f"{plugin.Config.__name__}.{name}: its default {default!r} is refused by its own type: "
                    f"{own[0]['msg']}; change the default or the type"
                ) from None


CONFIG_DEFAULTS_ARE_VALID = Law(
    "config_defaults_are_valid",
    "The default of each key of Config is a value that a spec may set.",
    _config_defaults_are_valid,
    dtypes=(),
)
