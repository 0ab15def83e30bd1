"""Lines of the keys of a YAML text, for messages."""

from collections.abc import Sequence
from typing import Any

import yaml

YAML_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader where PyYAML was built with it: a hundred times faster on a hostile megabyte."""


def line_of(text: str, key: Sequence[str | int]) -> int:
    """Line of ``key`` in a YAML text, or of the nearest section above it, from 1."""
    node: yaml.Node | None = yaml.compose(text, YAML_LOADER)
    line = node.start_mark.line if node is not None else 0
    for part in key:
        if isinstance(node, yaml.MappingNode):
            found = [(name, value) for name, value in node.value if name.value == str(part)]
            if not found:
                break
            line, node = found[-1][0].start_mark.line, found[-1][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1
