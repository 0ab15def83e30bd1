"""Interpolation: ``${name}`` in a spec is the value of another key of it. No environment, no functions.

OmegaConf's own resolvers are not used: they read the environment and expand without bound.
"""

import re
from typing import Any

from lina.config.source_map import Key, Origin
from lina.core.errors import SpecError, did_you_mean

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")
REFERENCE_RULE = "${...} may only name a key of the spec, such as ${train.steps}"
MAX_SIZE = 1_000_000
"""Largest number of characters and values of an expanded spec."""


def check_values(tree: Any, origin: Origin, key: Key = ()) -> None:
    """Refuse malformed references, and whole numbers that no key can hold.

    Raises:
        SpecError: such as ``${oc.env:HOME}``.
    """
    if isinstance(tree, dict):
        for part, value in tree.items():
            check_values(value, origin, (*key, part))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            check_values(value, origin, (*key, index))
    elif isinstance(tree, str) and ("${" in REFERENCE.sub("", tree) or "\\${" in tree):
        raise SpecError(f"{_at(origin, key)}: {_short(tree)} is not allowed; {REFERENCE_RULE}")
    elif isinstance(tree, int) and tree.bit_length() > 64:  # in hexadecimal, beyond what Python can print
        raise SpecError(f"{_at(origin, key)}: a whole number of more than 64 bits is not allowed")


def interpolate(tree: dict[str, Any], origin: Origin) -> dict[str, Any]:
    """``tree`` with all references replaced. A value that is one reference keeps its target's type.

    Raises:
        SpecError: a reference to nothing, to itself, or to too much.
    """
    expanded: dict[str, Any] = _Expansion(tree, origin).expand(tree, (), ())
    return expanded


class _Expansion:
    """Expansion of one spec, with the remaining budget."""

    def __init__(self, tree: dict[str, Any], origin: Origin) -> None:
        self._tree = tree
        self._origin = origin
        self._left = MAX_SIZE

    def expand(self, node: Any, key: Key, path: tuple[str, ...]) -> Any:
        """``path`` holds the chain of references being followed."""
        self._spend(1, key)
        if isinstance(node, dict):
            return {part: self.expand(value, (*key, part), path) for part, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.expand(value, (*key, index), path) for index, value in enumerate(node)]
        return self._expand_text(node, key, path) if isinstance(node, str) else node

    def _expand_text(self, text: str, key: Key, path: tuple[str, ...]) -> Any:
        if text == "???":
            raise SpecError(f"{_at(self._origin, key)}: has no value yet; give it one, here or as key=value")
        whole = REFERENCE.fullmatch(text)
        if whole:
            return self._follow(whole[1], key, path)
        result = REFERENCE.sub(lambda match: self._as_text(match[1], key, path), text)
        self._spend(len(result), key)
        if "${" in result:
            raise SpecError(
                f"{_at(self._origin, key)}: {_short(text)} puts a new ${{...}} together; write it plainly"
            )
        return result

    def _as_text(self, name: str, key: Key, path: tuple[str, ...]) -> str:
        value = self._follow(name, key, path)
        if isinstance(value, dict | list):
            raise SpecError(
                f"{_at(self._origin, key)}: ${{{name}}} is a section or a list, which no text can hold"
            )
        return str(value)

    def _follow(self, name: str, key: Key, path: tuple[str, ...]) -> Any:
        if name in path:
            cycle = " -> ".join((*path[path.index(name) :], name))
            raise SpecError(f"{_at(self._origin, key)}: a reference to itself: {cycle}")
        node: Any = self._tree
        for part in name.split("."):
            index = int(part) if isinstance(node, list) and part.isdecimal() else part
            try:
                node = node[index]
            except (KeyError, IndexError, TypeError):
                known = [str(one) for one in node] if isinstance(node, dict) else []
                hint = did_you_mean(part, known)
                raise SpecError(
                    f"{_at(self._origin, key)}: ${{{name}}} names nothing in this spec{hint}"
                ) from None
        return self.expand(node, key, (*path, name))

    def _spend(self, size: int, key: Key) -> None:
        self._left -= size
        if self._left < 0:
            raise SpecError(
                f"{_at(self._origin, key)}: the spec expands to more than {MAX_SIZE} values and characters"
            )


def _at(origin: Origin, key: Key) -> str:
    return f"{origin.where(key)}: {'.'.join(map(str, key))}"


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."
