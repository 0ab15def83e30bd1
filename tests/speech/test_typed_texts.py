"""Texts that people type, from the text to the phonemes of each part that is synthesized."""

import logging
from pathlib import Path

import pytest

from lina.core.errors import TextError
from lina.core.text.sentences import sentences_of_file, sentences_of_text
from lina.core.text.speakable import check_speakable, plain_text, sentence_parts
from lina.core.text.ssml import warn_once
from lina.tokenizers.english.characters import remark
from lina.tokenizers.phonemes import Phonemes, PhonemesTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PhonemesTokenizer:
    return Phonemes.build(**Phonemes.example()).skipping_unknown()


def spoken_parts(tokenizer: PhonemesTokenizer, sentences: list[str]) -> list[tuple[float, str]]:
    """Silence before each part, and its words."""
    parts = (part for one in sentences for part in sentence_parts(plain_text(one, tokenizer)))
    return [(part.seconds, tokenizer.normalizer.words(part.text or "")) for part in parts]


@pytest.mark.parametrize(
    ("text", "expected", "named"),
    [
        (
            '<speak>Hello <emphasis level="strong">dear</emphasis> friend.</speak>',
            [(0.0, "Hello dear friend.")],
            "<emphasis>",
        ),
        ('Hello <break strength="medium"/> there.', [(0.0, "Hello"), (0.4, "there.")], None),
        ("Hello <break/> there.", [(0.0, "Hello"), (0.4, "there.")], None),
        ('Wait <break time=".5s"/> now.', [(0.0, "Wait"), (0.5, "now.")], None),
    ],
)
def test_markup(
    tokenizer: PhonemesTokenizer,
    caplog: pytest.LogCaptureFixture,
    text: str,
    expected: list[tuple[float, str]],
    named: str | None,
) -> None:
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "lina"):
        assert spoken_parts(tokenizer, sentences_of_text(plain_text(text, tokenizer))) == expected
    assert [named in message for message in caplog.messages if named] == [True] * (named is not None)


@pytest.mark.parametrize(
    ("content", "expected", "named"),
    [
        ("...\n\n***\n", [], None),
        (
            "The lighthouse was finished in 1874.[1] It is open daily [citation needed].\n\nVisitors like the view.\n",
            [
                (0.0, "The lighthouse was finished in eighteen seventy four."),
                (0.0, "It is open daily citation needed."),
                (0.4, "Visitors like the view."),
            ],
            None,
        ),
        (
            "The town of Kyoto (京都) is old.\n\nIt rains in June.\n",
            [(0.0, "The town of Kyoto ( ) is old."), (0.4, "It rains in June.")],
            "U+4EAC",
        ),
    ],
)
def test_files(
    tokenizer: PhonemesTokenizer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
    expected: list[tuple[float, str]],
    named: str | None,
) -> None:
    remark.cache_clear()
    path = tmp_path / "text.txt"
    path.write_text(content, encoding="utf-8")
    with caplog.at_level(logging.WARNING, "lina"):
        assert spoken_parts(tokenizer, list(sentences_of_file(path))) == expected
    if named:
        assert named in caplog.text


@pytest.mark.parametrize("text", ["...", '"', "?!", "—"])
def test_nothing_to_say(tokenizer: PhonemesTokenizer, text: str) -> None:
    with pytest.raises(TextError, match=r"^text .* has no letter or digit; write at least one word$"):
        check_speakable(text, tokenizer, 1000)


def test_a_long_list_is_spoken_in_parts_that_lose_nothing(tokenizer: PhonemesTokenizer) -> None:
    items = [
        "apples",
        "pears",
        "plums",
        "grapes",
        "figs",
        "dates",
        "limes",
        "melons",
        "lemons",
        "peaches",
    ] * 4
    text = f"{', '.join(items)}."
    parts = spoken_parts(tokenizer, sentences_of_text(text))
    assert len(parts) == 5
    assert ", ".join(part.rstrip(",.") for _, part in parts).split(", ") == items
