"""JSON of unknown origin: regular files only, with limits on size and nesting, finite numbers, and a schema."""

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lina.core.errors import FileError, first_reason
from lina.core.files.checks import read_bounded

LARGEST = 8_000_000
"""Bytes of a file, unless the caller expects more. Parsed JSON takes up to 20 times the space of its text."""
DEEPEST = 64
"""Levels of nesting."""

T = TypeVar("T")


def read_json(
    path: Path, schema: TypeAdapter[T] | None = None, *, strict: bool = True, limit: int = LARGEST
) -> T:
    """Read a JSON file, validated by ``schema`` if there is one.

    Args:
        strict: no conversions, such as from a text to a number.
        limit: largest size of the file in bytes.

    Raises:
        FileError: it is no regular file, too large, not JSON, nested too deeply, or not as the schema requires. The
            message quotes nothing of the file but names of the schema's keys.
        OSError: it cannot be read.
    """
    content = read_bounded(path, limit)
    try:
        return parse_json(content, schema, strict=strict)
    except ValueError as error:
        raise FileError(path, str(error)) from None


def parse_json(content: bytes | str, schema: TypeAdapter[T] | None = None, *, strict: bool = True) -> T:
    """Parse JSON as ``read_json`` does.

    Raises:
        ValueError: the reason, in one line.
    """
    try:
        value: Any = json.loads(
            content, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_without_duplicates
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"is not JSON: byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"is nested deeper than {DEEPEST} levels") from None
    _check_depth(value)
    if schema is None:
        return value  # type: ignore[no-any-return]
    try:
        return schema.validate_json(content, strict=strict)
    except ValidationError as error:
        raise ValueError(f"has another content than expected: {first_reason(error)}") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("holds a number that is NaN, infinite or too large")
    return number


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("holds a key twice")
    return found


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            one
            for parent in level
            if isinstance(parent, dict | list)
            for one in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(one, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"is nested deeper than {DEEPEST} levels")
