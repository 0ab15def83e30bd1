import re

import pytest
from pydantic import BaseModel

from lina.config.spec import Spec
from lina.core.registry import records
from tests.docs.spec_tables import PAGE, TABLE, documented, model_of, renewed, table

SECTIONS = [
    name
    for name, field in Spec.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
]
CODEC_SECTIONS = [
    f"job-codec.{name}"
    for name in [
        "data",
        "data.sources",
        "train",
        "train.losses",
        "train.discriminators",
        "train.augment",
        "evaluate",
    ]
]


def test_the_tables_of_the_guide_are_current() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "run: python -m tests.docs.spec_tables"


def test_every_section_and_plugin_has_its_table() -> None:
    own = {
        record.full_name for record in records() if record.distribution == "lina" and record.role != "hook"
    }
    assert {found[2] for found in TABLE.finditer(PAGE.read_text())} == {
        "spec",
        "init.lora",
        "synthesize.window",
        "synthesize.repetition",
        *SECTIONS,
        *CODEC_SECTIONS,
    } | own


@pytest.mark.parametrize("section", [*SECTIONS, "init.lora", "spec", *CODEC_SECTIONS])
def test_every_key_of_a_spec_is_explained(section: str) -> None:
    model = model_of(section)
    keys = {field.alias or name for name, field in model.model_fields.items()}
    sections = {"spec": set(SECTIONS), "job-codec.train": {"losses", "discriminators", "augment"}}
    assert set(documented(model)) == keys - sections.get(section, set())


def test_a_table_says_bounds_defaults_and_meaning() -> None:
    lines = table(model_of("text"))
    assert "| `layers` | whole number ≥ 0, ≤ 1,000 | `3` | Layers of the text encoder. |" in lines
    assert "| `attention` | `position`, `plain` | `position` |" in lines


def test_a_stale_table_is_renewed() -> None:
    stale = "before\n<!-- keys of codec -->\nold\n<!-- end -->\nafter\n"
    fresh = renewed(stale)
    assert "old" not in fresh
    assert re.search(r"^before\n<!-- keys of codec -->\n\| key .*<!-- end -->\nafter\n$", fresh, re.DOTALL)
    assert renewed(fresh) == fresh
