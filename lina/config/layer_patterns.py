"""Layer patterns of a spec (``backbone.layers``, ``backbone.after``) beside the keys of a single backbone."""

from typing import Any

from lina.config.sections import BackboneSection
from lina.config.source_map import Origin
from lina.core.errors import SpecError

PATTERN_KEYS = ("layers", "after")


def check_layer_patterns(tree: Any, origin: Origin) -> None:
    """Refuse keys beside a pattern that it would leave without effect, in a tree before its validation.

    Raises:
        SpecError: ``plugin`` is not the first of ``layers``, ``config`` is beside ``layers``, or a pattern has more
            entries than ``n_layers``.
    """
    section = tree.get("backbone") if isinstance(tree, dict) else None
    if not isinstance(section, dict):
        return
    patterns = {key: section[key] for key in PATTERN_KEYS if isinstance(section.get(key), list)}
    if patterns.get("layers"):
        _check_single_backbone(section, patterns["layers"][0], origin)
    # An invalid number is left to the validation.
    default = len(patterns.get("layers", ())) or BackboneSection.model_fields["n_layers"].default
    depth = section.get("n_layers", default)
    for key, pattern in patterns.items():
        if isinstance(depth, int) and 0 < depth < len(pattern):
            where = origin.where(("backbone", "n_layers" if "n_layers" in section else key))
            raise SpecError(
                f"{where}: backbone.n_layers ({depth}) is less than the {len(pattern)} entries of backbone.{key}, "
                f"whose last ones would be left out; set n_layers: {len(pattern)} or more, or shorten {key}"
            )


def _check_single_backbone(section: dict[str, Any], first: Any, origin: Origin) -> None:
    name, options = next(iter(first.items()), ("", None)) if isinstance(first, dict) else (first, None)
    plugin, config = section.get("plugin"), section.get("config")
    if isinstance(plugin, str) and plugin and plain_name(plugin) != plain_name(str(name)):
        raise SpecError(
            f"{origin.where(('backbone', 'plugin'))}: backbone.plugin ({plugin}) is not the first of backbone.layers "
            f"({name}); leave out one of the two"
        )
    # A stored spec repeats the options of its first layer there.
    if isinstance(config, dict) and config and config != (options or {}):
        shown = ", ".join(f"{key}: {value}" for key, value in list(config.items())[:2])
        raise SpecError(
            f"{origin.where(('backbone', 'config'))}: backbone.config has no effect beside backbone.layers; give the "
            f"options with a layer's name, as in layers: [{{{name}: {{{shown}}}}}]"
        )


def plain_name(plugin: str) -> str:
    """A plugin's name without its distribution."""
    return plugin.rpartition(":")[2]
