"""Generate the tables of keys in docs from the pydantic models: ``python -m tests.docs.spec_tables`` updates them.

A table stands between ``<!-- keys of NAME -->`` and ``<!-- end -->``; NAME is a section of a spec (``init.lora``: one
in another), ``spec``, the full name of a plugin, such as ``codec:codec2``, or a section of a spec of job codec, such as
``job-codec.train``.
"""

import ast
import inspect
import json
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from lina.config.codec_spec import CodecSpec
from lina.config.spec import Spec
from lina.core.registry import load

DOCS = Path(__file__).parents[2] / "docs"
TABLE = re.compile(r"(<!-- keys of ([\w:.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
JOB_CODEC = "job-codec."
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
KINDS = {"integer": "whole number", "string": "text", "boolean": "true or false"}


def pages() -> list[Path]:
    """The pages that have tables of keys."""
    return [path for path in sorted(DOCS.glob("*.md")) if TABLE.search(path.read_text())]


def updated(page: str) -> str:
    """The text of a page with all of its tables generated anew."""
    return TABLE.sub(lambda found: f"{found[1]}{table(model_of(found[2]))}{found[3]}", page)


def model_of(name: str) -> type[BaseModel]:
    if name == "spec":
        return Spec
    if ":" in name:
        return load(*name.split(":")).Config  # type: ignore[call-overload, no-any-return]
    section: Any = CodecSpec if name.startswith(JOB_CODEC) else Spec
    for part in name.removeprefix(JOB_CODEC).split("."):
        kinds = section.model_fields[part].annotation
        section = next(
            one for one in (kinds, *get_args(kinds)) if isinstance(one, type) and issubclass(one, BaseModel)
        )
    return section  # type: ignore[no-any-return]


def table(model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    meanings = documented(model)
    lines = ["| key | value | if left out | meaning |", "|---|---|---|---|"]
    for key, about in schema.get("properties", {}).items():
        if "$ref" in about or "$ref" in str(about.get("allOf")):
            continue  # a section: it has a table of its own
        left_out = "needed" if key in schema.get("required", ()) else f"`{shown(about.get('default'))}`"
        meaning = meanings.get(key, "").replace("``", "`")
        lines.append(f"| `{key}` | {kind(about)} | {left_out} | {meaning} |".replace(" |  |", " | |"))
    return "\n".join(lines) + "\n"


def documented(model: type[BaseModel]) -> dict[str, str]:
    """Key -> its docstring in the source of the class or of a base class."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not (issubclass(owner, BaseModel) and owner.__module__.startswith("lina.")):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for key, below in zip(definition.body, definition.body[1:], strict=False):
            if not (isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)):
                continue
            if not (isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)):
                continue
            field = owner.model_fields.get(key.target.id)
            if field is not None:
                found[field.alias or key.target.id] = " ".join(str(below.value.value).split())
    return found


def kind(about: dict[str, Any]) -> str:
    """The type and the bounds of a key, in words."""
    if "anyOf" in about:
        return " or ".join(kind(one) for one in about["anyOf"] if one.get("type") != "null")
    if "$ref" in about:
        return "section"
    if "enum" in about:
        return ", ".join(f"`{shown(one)}`" for one in about["enum"])
    if "const" in about:
        return f"`{shown(about['const'])}`"
    if about.get("format") == "path":
        return "path"
    if about["type"] == "array":
        each = about.get("items") or about["prefixItems"][0]
        count = f"{about['maxItems']} of " if about.get("maxItems") else ""
        return f"list: {count}{kind(each)}"
    if about["type"] == "object":
        return "section"
    limits = [f"{sign} {number(about[name])}" for name, sign in LIMITS.items() if name in about]
    return " ".join([KINDS.get(about["type"], about["type"]), ", ".join(limits)]).strip()


def number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def shown(value: Any) -> str:
    if isinstance(value, str):
        return value or '""'
    return json.dumps(value)


if __name__ == "__main__":
    for path in pages():
        path.write_text(updated(path.read_text()))
