"""Forty wrong plugins are refused by the law that names their mistake, and right ones of other architectures pass."""

import re
from collections.abc import Iterator

import pytest
import torch

from lina.core.laws import law_cases
from lina.core.plugin import Plugin
from tests.core.laws.architectures import ARCHITECTURES
from tests.core.laws.wrong_backbones import RIGHT as RIGHT_BACKBONE
from tests.core.laws.wrong_backbones import WRONG_BACKBONES
from tests.core.laws.wrong_codecs import WRONG_CODECS
from tests.core.laws.wrong_tokenizers import RIGHT as RIGHT_TOKENIZER
from tests.core.laws.wrong_tokenizers import WRONG_TOKENIZERS


def _failures(plugin: type[Plugin]) -> Iterator[tuple[str, str]]:
    for case in law_cases(plugin, dtypes=(torch.float32,)):
        result = case.run()
        if result.failed:
            yield case.law.name, result.detail


WRONG = [*WRONG_BACKBONES, *WRONG_CODECS, *WRONG_TOKENIZERS]


@pytest.mark.parametrize(
    ("law", "plugin", "message"), [pytest.param(*wrong, id=wrong[1].__name__) for wrong in WRONG]
)
def test_the_likeliest_cause_is_the_law_of_the_mistake(law: str, plugin: type[Plugin], message: str) -> None:
    """The first law that fails, which ``lina check`` names, with the first place where it differs."""
    name, detail = next(_failures(plugin))
    assert name == law, detail
    assert re.search(message, detail), detail


@pytest.mark.parametrize(
    "plugin", [*ARCHITECTURES, RIGHT_BACKBONE, RIGHT_TOKENIZER], ids=lambda plugin: plugin.__name__
)
def test_right_plugins_pass(plugin: type[Plugin]) -> None:
    assert list(_failures(plugin)) == []
