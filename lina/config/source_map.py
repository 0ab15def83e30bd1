"""Source map of a spec: file and line of each key, or the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]
"""Path of a key in a spec, such as ``("backbone", "d_model")`` or ``("synthesize", "texts", 0)``."""

COMMAND_LINE = "command line"
"""Name of the source of options and overrides."""


@dataclass(frozen=True)
class SpecSource:
    """A file or the command line: the tree as written there, before anything was merged over it."""

    name: str
    directory: Path
    """Base of relative paths in this source."""
    tree: Any
    text: str | None = None
    """Text of the file; None for the command line."""

    def depth(self, key: Key) -> int:
        """Number of leading parts of ``key`` that this source sets."""
        node = self.tree
        for depth, part in enumerate(key):
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return depth
        return len(key)

    def line(self, key: Key) -> int | None:
        """Line of ``key`` or of the nearest section above it, from 1."""
        if self.text is None:
            return None
        from lina.config.yaml_lines import line_of  # imports PyYAML, which lina-voice is without

        return line_of(self.text, key)


@dataclass(frozen=True)
class Origin:
    """All sources of a spec, highest precedence first; ignored when specs are compared."""

    sources: tuple[SpecSource, ...] = field(default=(), compare=False)
    written: Mapping[Key, Key] = field(default_factory=dict, compare=False)
    """Current name of a key -> the former name under which it is written (``lina.config.renames``)."""

    def source(self, key: Key) -> SpecSource | None:
        """Source that sets ``key`` or the longest part of its path; if none does, the spec's own file."""
        key = self._as_written(key)
        nearest = max(self.sources, key=lambda source: source.depth(key), default=None)
        if nearest is not None and nearest.depth(key) == 0:
            return next((source for source in self.sources if source.text is not None), nearest)
        return nearest

    def where(self, key: Key) -> str:
        """``specs/first.yaml:7``, ``command line`` or, for a spec built in Python, ``spec``."""
        source = self.source(key)
        if source is None:
            return "spec"
        line = source.line(self._as_written(key))
        return source.name if line is None else f"{source.name}:{line}"

    def directory(self, key: Key) -> Path:
        """Base of a relative path at ``key``."""
        source = self.source(key)
        return source.directory if source is not None else Path()

    def _as_written(self, key: Key) -> Key:
        for length in range(len(key), 0, -1):
            if key[:length] in self.written:
                return (*self.written[key[:length]], *key[length:])
        return key
