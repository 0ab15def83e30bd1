"""Options of a plugin that a source of higher precedence replaces by another: they mean nothing to that one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from lina.config.layer_patterns import PATTERN_KEYS
from lina.config.source_map import SpecSource

PLUGIN_KEYS = {
    "backbone": "plugin",
    "codec": "plugin",
    "tokenizer": "plugin",
    "data": "source",
    "evaluate": "recognizer",
}
"""Section -> the key that names its plugin."""
CHOICE_KEYS = ("optimizer", "schedule", "loss")
"""Keys of section ``train`` that hold a name, or a name with options."""

log = logging.getLogger("lina")


def without_stale_options(sources: Sequence[SpecSource]) -> list[SpecSource]:
    """Drop a plugin's ``config`` if a source of higher precedence names another plugin.

    So ``backbone.plugin=other``, or an including spec, swaps a plugin in one line; also for a pattern of layers, as
    ``backbone.layers=[...]`` does for a plugin.
    """
    kept, named, chosen = [], dict[str, object](), dict[str, set[str]]()
    for source in _without_stale_layers(sources):
        tree = source.tree
        for section, key in PLUGIN_KEYS.items():
            here = tree.get(section) if isinstance(tree, dict) else None
            if not isinstance(here, dict):
                continue
            if key in here and here[key] != named.setdefault(section, here[key]) and "config" in here:
                pruned = {name: value for name, value in here.items() if name != "config"}
                log.info(
                    "%s: %s.config was written for %s and is left out for %s",
                    source.name,
                    section,
                    here[key],
                    named[section],
                )
                tree = tree | {section: pruned}
        kept.append(replace(source, tree=_without_stale_choices(tree, chosen)))
    return kept


def _without_stale_layers(sources: Sequence[SpecSource]) -> list[SpecSource]:
    """Drop patterns of layers below a source that names one backbone, and the one backbone below a pattern."""
    kept: list[SpecSource] = []
    stale: tuple[str, ...] = ()
    winner = ""
    # The command line is one source, whatever the order of its keys.
    for _, group in groupby(enumerate(sources), key=lambda one: one[0] if one[1].text is not None else -1):
        level = [source for _, source in group]
        kept += [_without_keys(source, stale, winner) for source in level]
        named = {key: value for source in level for key, value in _backbone(source).items()}
        if not stale and isinstance(named.get("layers"), list):
            stale, winner = ("plugin", "config"), "backbone.layers"
        elif not stale and named.get("plugin"):
            stale, winner = PATTERN_KEYS, f"backbone.plugin {named['plugin']}"
        elif not stale and "layers" in named:
            stale, winner = ("layers",), "backbone.layers null"
    return kept


def _backbone(source: SpecSource) -> dict[str, Any]:
    section = source.tree.get("backbone") if isinstance(source.tree, dict) else None
    return section if isinstance(section, dict) else {}


def _without_keys(source: SpecSource, stale: Sequence[str], winner: str) -> SpecSource:
    section = _backbone(source)
    for key in stale:
        if key != "plugin" and section.get(key):
            log.info("%s: backbone.%s is left out for %s", source.name, key, winner)
    if not any(key in section for key in stale):
        return source
    return replace(
        source,
        tree=source.tree | {"backbone": {key: value for key, value in section.items() if key not in stale}},
    )


def _without_stale_choices(tree: Any, chosen: dict[str, set[str]]) -> Any:
    """Drop options of ``train.schedule`` and its like if a source of higher precedence chooses another name."""
    train = tree.get("train") if isinstance(tree, dict) else None
    if not isinstance(train, dict):
        return tree
    kept = dict(train)
    for key in CHOICE_KEYS:
        value = train.get(key)
        names = set(value) if isinstance(value, dict) else {value} if isinstance(value, str) else set()
        if names and names != chosen.setdefault(key, names):
            del kept[key]
    return tree | {"train": kept}
