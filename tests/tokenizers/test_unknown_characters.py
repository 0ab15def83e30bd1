"""Characters that the phonemizer cannot read: refused by name, or left out with a warning that names them."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.errors import TextError
from lina.tokenizers.english.characters import remark
from lina.tokenizers.english.emoticons import strip_emoticons
from lina.tokenizers.english.quotes import strip_quotes
from lina.tokenizers.phonemes import Phonemes, PhonemesTokenizer
from tests.tokenizers.streams import cuts, in_pieces, split


@pytest.fixture(scope="module")
def skipping() -> PhonemesTokenizer:
    return Phonemes.build(**Phonemes.example()).skipping_unknown()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The word 東 means east.", "U+6771 CJK UNIFIED IDEOGRAPH-6771"),
        ("x\u030c marks", "U+030C COMBINING CARON"),
        ("He said привет.", "'привет' is read as 'privyet'"),
        ("nul\0 byte", "U+0000 no name"),
    ],
)
def test_each_is_named_once(
    skipping: PhonemesTokenizer, caplog: pytest.LogCaptureFixture, text: str, named: str
) -> None:
    remark.cache_clear()
    with caplog.at_level(logging.WARNING, "lina"):
        assert len(skipping.parallel_forward(f"{text} {text}")) > 4
    assert [named in message for message in caplog.messages] == [True]


def test_refusing_and_skipping_agree_on_english(skipping: PhonemesTokenizer) -> None:
    refusing = Phonemes.build(**Phonemes.example())
    text = "“Don’t go,” said Zoë – 5 µm … OK?"
    assert refusing.parallel_forward(text) == skipping.parallel_forward(text)
    with pytest.raises(TextError, match="U\\+6771"):
        refusing.parallel_forward("The word 東 means east.")


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ue000[]"), max_size=30),
    places=cuts,
)
def test_any_text_is_read(skipping: PhonemesTokenizer, text: str, places: list[int]) -> None:
    assert in_pieces(skipping, split(text, places)) == skipping.parallel_forward(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab1 '\"“”‘’«»s.,!-"), max_size=30))
def test_quotes_take_no_letter_with_them(text: str) -> None:
    kept = strip_quotes(text)
    assert [c for c in kept if c not in "'’‘ "] == [c for c in text if c not in "'\"“”‘’«» "]


@pytest.mark.parametrize(
    "text", ["see (naïve) it", "array(x)", "at 0.0 (a)", "-5 + 3 = x", "and (東京)", "a ^ b"]
)
def test_these_are_no_emoticons(text: str) -> None:
    assert strip_emoticons(text) == text
