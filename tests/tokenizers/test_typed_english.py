"""Texts as people type them, each against the phonemes of its reading."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.normalizer import audible, read_list, readers, readings
from lina.tokenizers.phonemes import Phonemes, PhonemesTokenizer

LINES = read_list(Path(__file__).parent / "typed_english.tsv")
NOT_READ = {
    "The word 東京 means Tokyo.": "Han characters have no reading without their language; they are left out by name",
}


@pytest.fixture(scope="module")
def tokenizer() -> PhonemesTokenizer:
    return Phonemes.build(**Phonemes.example()).skipping_unknown()


@pytest.fixture(scope="module")
def pronounce() -> Callable[[str], str]:
    return readers()[1]


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        pytest.param(text, reading, marks=pytest.mark.xfail(reason=NOT_READ[text], strict=True))
        if text in NOT_READ
        else (text, reading)
        for _, text, reading in LINES
    ],
)
def test_typed_texts_are_read(
    tokenizer: PhonemesTokenizer, pronounce: Callable[[str], str], text: str, reading: str
) -> None:
    assert audible(tokenizer.phonemes(text)) in {audible(pronounce(one)) for one in readings(reading)}


def test_few_texts_are_not_read() -> None:
    assert len(NOT_READ) <= 0.05 * len(LINES)
    assert {text for _, text, _ in LINES} >= NOT_READ.keys()
