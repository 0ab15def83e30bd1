import re

import pytest
from pydantic import BaseModel

from lina.config.spec import Spec
from lina.core.registry import Record, load_record, records
from tests.docs.spec_tables import TABLE, documented, model_of, pages, table, updated

SECTIONS = [
    name
    for name, field in Spec.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
]
TRAINING = ("optimizer", "schedule", "loss")
"""Roles whose plugins have a table if they have keys."""
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


def test_tables_are_current() -> None:
    for page in pages():
        text = page.read_text()
        assert updated(text) == text, f"{page.name}: run python -m tests.docs.spec_tables"


def _has_keys(record: Record) -> bool:
    config = getattr(load_record(record), "Config", None)
    return config is not None and (bool(config.model_fields) or record.role not in TRAINING)


def test_every_section_and_plugin_has_its_table() -> None:
    own = {record.full_name for record in records() if record.distribution == "lina" and _has_keys(record)}
    tables = [found[2] for page in pages() for found in TABLE.finditer(page.read_text())]
    assert len(tables) == len(set(tables))
    assert (
        set(tables)
        == {
            "spec",
            "init.lora",
            "train.patience",
            "synthesize.window",
            "synthesize.repetition",
            *SECTIONS,
            *CODEC_SECTIONS,
        }
        | own
    )


@pytest.mark.parametrize("section", [*SECTIONS, "init.lora", "spec", *CODEC_SECTIONS])
def test_every_key_of_a_spec_is_explained(section: str) -> None:
    model = model_of(section)
    keys = {field.alias or name for name, field in model.model_fields.items()}
    sections = {
        "spec": set(SECTIONS),
        "train": {"patience"},
        "job-codec.train": {"losses", "discriminators", "augment", "patience"},
    }
    assert set(documented(model)) == keys - sections.get(section, set())


def test_a_table_has_bounds_defaults_and_meaning() -> None:
    lines = table(model_of("text"))
    assert "| `layers` | whole number ≥ 0, ≤ 1,000 | `3` | Layers of the text encoder. |" in lines
    assert "| `attention` | `position`, `plain` | `position` |" in lines


def test_a_stale_table_is_updated() -> None:
    stale = "before\n<!-- keys of codec -->\nold\n<!-- end -->\nafter\n"
    fresh = updated(stale)
    assert "old" not in fresh
    assert re.search(r"^before\n<!-- keys of codec -->\n\| key .*<!-- end -->\nafter\n$", fresh, re.DOTALL)
    assert updated(fresh) == fresh
