"""Values of options such as ``--temperature 0.7,0.9``, as a tree for ``validate``.

lina-voice, which takes these options, is without the packages that read a spec.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lina.config.interpolation import check_values
from lina.config.source_map import COMMAND_LINE, Origin, SpecSource

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_LONGEST = 400
"""Characters of a number, at most."""


def option_values(options: Mapping[str, str]) -> tuple[dict[str, Any], Origin]:
    """Tree and origin of options: numbers, or lists of them between commas; other texts stay as they are.

    Raises:
        SpecError: a whole number has more than 64 bits.
    """
    tree = {
        name: [_value(one) for one in text.split(",")] if "," in text else _value(text)
        for name, text in options.items()
    }
    origin = Origin((SpecSource(COMMAND_LINE, Path(), tree),))
    check_values(tree, origin)
    return tree, origin


def _value(text: str) -> int | float | str:
    text = text.encode("utf-8", "backslashreplace").decode().strip()  # surrogates: bytes that are not text
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text)
