"""Options of a plugin that a source of higher precedence replaces by another: they mean nothing to that one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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

    So ``backbone.plugin=other``, or an including spec, swaps a plugin in one line.
    """
    kept, named, chosen = [], dict[str, object](), dict[str, set[str]]()
    for source in sources:
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
