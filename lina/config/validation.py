"""Validate a tree against a pydantic model, with errors as one line for the user."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lina.config.source_map import Key, Origin
from lina.core.errors import SpecError, did_you_mean

M = TypeVar("M", bound=BaseModel)

BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "greater than or equal to"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "less than or equal to"),
}
"""Type of a pydantic error -> name of the bound in its context, and stable words for it."""


def validate(model: type[M], tree: Any, origin: Origin, prefix: Key = ()) -> M:
    """``tree`` as ``model``, without conversions: "3" is not a number and true is not a count.

    ``prefix`` is the place of ``tree`` in the spec.

    Raises:
        SpecError: it does not fit; the message names file, line, key, the value found and the one expected.
    """
    try:
        # JSON mode: strict about kinds, yet a list may be a tuple and a text a path.
        return model.model_validate_json(json.dumps(tree, default=repr), strict=True)
    except ValidationError as error:
        raise SpecError(_one_line(model, tree, error.errors(include_url=False), origin, prefix)) from None


def _one_line(
    model: type[BaseModel], tree: Any, errors: list[ErrorDetails], origin: Origin, prefix: Key
) -> str:
    at_key: dict[Key, list[ErrorDetails]] = {}
    for error in errors:
        at_key.setdefault(_written(tree, error), []).append(error)
    # Of a union (a number, or a list of numbers) only the branch that got further into the value counts.
    for key in list(at_key):
        if any(other[: len(key)] == key and other != key for other in at_key):
            del at_key[key]
    # An unknown key comes first: it is often the misspelled name of one that is missing.
    unknown = (key for key, errors in at_key.items() if errors[0]["type"] == "extra_forbidden")
    key = next(unknown, next(iter(at_key)))
    first = at_key[key]
    dotted = ".".join(map(str, (*prefix, *key)))
    line = f"{origin.where((*prefix, *key))}: {dotted + ': ' if dotted else ''}{_describe(model, key, first)}"
    others = len(at_key) - 1
    return line + (f" (and {others} more {'mistake' if others == 1 else 'mistakes'})" if others else "")


def _written(tree: Any, error: ErrorDetails) -> Key:
    """Key of an error as written, without pydantic's names for branches of a union."""
    key: Key = ()
    for part in error["loc"]:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            continue
        key = (*key, part)
    return (*key, error["loc"][-1]) if error["type"] == "missing" else key


def _describe(model: type[BaseModel], key: Key, errors: list[ErrorDetails]) -> str:
    error = errors[0]
    if error["type"] == "extra_forbidden":
        return f"unknown key{did_you_mean(str(key[-1]), known_keys(model, key[:-1]))}"
    if error["type"] == "missing":
        return "is missing; add it"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    # Of a union, the branch whose kind is right and whose bounds are not says more than those of other kinds.
    errors = [error for error in errors if not error["type"].endswith("_type")] or errors
    expected = " or ".join(dict.fromkeys(_expected(error) for error in errors))
    return f"expected {expected}, found {_found(errors[0]['input'])}{_near_choice(errors)}"


def _near_choice(errors: list[ErrorDetails]) -> str:
    """A closing clause with the choice that a misspelled one resembles, if any."""
    for error in errors:
        if error["type"] == "literal_error" and isinstance(error["input"], str):
            choices = re.findall(r"'([^']+)'", error["ctx"]["expected"])
            if near := difflib.get_close_matches(error["input"], choices, n=1):
                return f"; did you mean {near[0]!r}?"
    return ""


def _expected(error: ErrorDetails) -> str:
    plain = {
        "model_type": "a section (keys and values)",
        "dict_type": "a section (keys and values)",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "a text",
        "path_type": "a path",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "list_type": "a list",
        "string_pattern_mismatch": "letters, digits, '.', '_' and '-', beginning with a letter or digit",
    }
    if error["type"] in ("too_long", "too_short"):
        bound, number = (
            ("at most", "max_length") if error["type"] == "too_long" else ("at least", "min_length")
        )
        kind = "key" if isinstance(error["input"], dict) else "value"
        count = error["ctx"][number]
        return f"{bound} {count} {kind if count == 1 else f'{kind}s'}"
    if error["type"] in ("string_too_long", "string_too_short"):
        longest = error["ctx"].get("max_length")
        return "a text that is not empty" if longest is None else f"a text of at most {longest} characters"
    if error["type"] in BOUNDS:
        name, words = BOUNDS[error["type"]]
        return f"a number {words} {error['ctx'][name]:g}"
    message = error["msg"].removeprefix("Input should be ")
    return plain.get(error["type"], message[:1].lower() + message[1:])


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = json.dumps(value, ensure_ascii=False, default=repr)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def known_keys(model: type[BaseModel], key: Key) -> Iterable[str]:
    """The keys of the section at ``key`` of ``model``; none if it is no section."""
    return _fields(section_at(model, key))


def section_at(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """The model of the section at ``key`` of ``model``; None if it is no section."""
    section: type[BaseModel] | None = model
    for part in key:
        if isinstance(part, int):
            continue  # the sections of a list are all of one kind
        field = _fields(section).get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
        section = next(filter(_is_model, kinds), None)
    return section


def _fields(section: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """The fields of a model by the names that are written."""
    return (
        {}
        if section is None
        else {field.alias or name: field for name, field in section.model_fields.items()}
    )


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
