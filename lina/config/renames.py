"""Replace former names of keys and values in a spec by the current ones, with a warning per name."""

import logging
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from lina.config.source_map import Key, Origin
from lina.config.validation import section_at
from lina.core.errors import SpecError
from lina.core.renames import Renames

log = logging.getLogger("lina")


def apply_renames(model: type[BaseModel], tree: Any, origin: Origin, prefix: Key = ()) -> tuple[Any, Origin]:
    """``tree`` in the current names of ``model``, and an origin that still finds the lines of former ones.

    ``prefix`` is the place of ``tree`` in the spec. Each section class declares its former names as ``renames``
    (``lina.core.renames``). Where files set a key under both names, the usual precedence of files decides.

    Raises:
        SpecError: one file has both names of a key.
    """
    renamer = _Renamer(origin)
    return renamer.rename(model, tree, prefix, prefix), replace(
        origin, written={**origin.written, **renamer.written}
    )


class _Renamer:
    """One pass over a tree; ``written`` collects current key -> key as written."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.written: dict[Key, Key] = {}

    def rename(self, model: type[BaseModel], tree: Any, key: Key, written: Key) -> Any:
        """``key`` and ``written`` are the place of ``tree`` by its current and by its former names."""
        if isinstance(tree, list):
            return [
                self.rename(model, one, (*key, place), (*written, place)) for place, one in enumerate(tree)
            ]
        if not isinstance(tree, dict):
            return tree
        renames: Renames = getattr(model, "renames", Renames())
        former = self._former_keys(renames, tree, written)
        result: dict[str, Any] = {}
        for name, value in tree.items():
            current = renames.keys.get(name, name)
            if former.get(current, name) != name:
                continue  # the other name of this key wins
            there = (*written, name)
            if current != name:
                self.written[(*key, current)] = there
            section = section_at(model, (current,))
            if section is not None:
                value = self.rename(section, value, (*key, current), there)
            result[current] = self._value(renames, current, value, there)
        return result

    def _former_keys(self, renames: Renames, tree: dict[str, Any], written: Key) -> dict[str, str]:
        """Current key -> the name that counts, for each key that is written under a former name."""
        former: dict[str, str] = {}
        for old, new in renames.keys.items():
            if old not in tree:
                continue
            there = ".".join(map(str, (*written, old)))
            log.warning("%s: %s is now called %s; rename it", self._origin.where((*written, old)), there, new)
            former[new] = self._winner(old, new, written) if new in tree else old
        return former

    def _winner(self, old: str, new: str, written: Key) -> str:
        for source in self._origin.sources:
            names = [name for name in (old, new) if source.depth((*written, name)) > len(written)]
            if len(names) == 2:
                where = self._origin.where((*written, old))
                raise SpecError(f"{where}: {old} is the former name of {new}, which is set too; remove {old}")
            if names:
                return names[0]
        return new

    def _value(self, renames: Renames, name: str, value: Any, there: Key) -> Any:
        current = renames.values.get(name, {}).get(value) if isinstance(value, str) else None
        if current is None:
            return value
        dotted = ".".join(map(str, there))
        log.warning(
            "%s: %s: %s is now called %s; rename it", self._origin.where(there), dotted, value, current
        )
        return current
