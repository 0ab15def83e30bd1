"""Former names of configuration keys and values, which specs may still use."""

from collections.abc import Mapping
from typing import NamedTuple


class Renames(NamedTuple):
    """Class attribute ``renames`` of a section of a spec or of a plugin's ``Config``.

    ``lina.config.renames`` replaces the former names before validation and logs one warning line per name.
    """

    keys: Mapping[str, str] = {}
    """Former key -> current key, in the same section."""
    values: Mapping[str, Mapping[str, str]] = {}
    """Current key -> former value -> current value."""
