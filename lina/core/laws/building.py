"""The first law: the example builds an object of its role."""

from typing import Any

from lina.core.errors import PluginError
from lina.core.laws.law import Conditions, Law, Violation
from lina.core.laws.stream import seeded_build
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


BUILDS = Law(
    "builds", "build(**example()) gives an object that implements its role's protocol.", _builds, dtypes=()
)
