import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lina.core.errors import TextError
from lina.core.protocols import Tokenizer, implements
from lina.tokenizers.bytes import BEGIN, END, Bytes, BytesConfig
from tests.tokenizers.streams import cuts, in_pieces, split, texts


@given(texts, cuts, st.booleans())
def test_pieces_give_what_the_whole_gives(text: str, places: list[int], lowercase: bool) -> None:
    tokenizer = Bytes.build(config=BytesConfig(lowercase=lowercase))
    assert in_pieces(tokenizer, split(text, places)) == tokenizer.parallel_forward(text)


@given(texts)
def test_bytes_are_the_text_between_marks(text: str) -> None:
    ids = Bytes.build(config=BytesConfig()).parallel_forward(text)
    assert (ids[0], ids[-1]) == (BEGIN, END)
    assert bytes(ids[1:-1]).decode("utf-8") == text


def test_it_is_a_tokenizer_and_no_pieces_are_the_empty_text() -> None:
    tokenizer = Bytes.build(**Bytes.example())
    assert implements(tokenizer, Tokenizer)
    assert in_pieces(tokenizer, []) == in_pieces(tokenizer, ["", ""]) == [256, 257]
    assert tokenizer.parallel_forward("") == [256, 257]


def test_golden_ids() -> None:
    tokenizer = Bytes.build(config=BytesConfig(lowercase=True))
    assert tokenizer.parallel_forward("Hé!") == [256, 104, 0xC3, 0xA9, 33, 257]
    assert tokenizer.parallel_forward("ΟΔΟΣ")[7:9] == list("σ".encode())


def test_labels_show_characters_blanks_and_broken_bytes() -> None:
    tokenizer = Bytes.build(config=BytesConfig())
    ids = tokenizer.parallel_forward("a é\n\u0301日\0")
    assert tokenizer.labels(ids) == [
        *["BEGIN", "a", "␣", "é", "·", "\\n", "◌\u0301", "·", "日", "·", "·", "\\x00", "END"]
    ]
    assert tokenizer.labels([0xC3, 0xC3, 0xA9, END, 0x80]) == ["0xC3", "é", "·", "END", "0x80"]


@given(st.lists(st.integers(0, 257)))
def test_any_ids_have_one_label_each(ids: list[int]) -> None:
    labels = Bytes.build(config=BytesConfig()).labels(ids)
    assert len(labels) == len(ids)
    assert all(label.isprintable() and label for label in labels)


@pytest.mark.parametrize("bad", [-1, 258])
def test_ids_outside_the_vocabulary_have_no_label(bad: int) -> None:
    with pytest.raises(ValueError, match=f"id {bad} is not in 0 .. 257"):
        Bytes.build(config=BytesConfig()).labels([65, bad])


@pytest.mark.parametrize("text", ["ok \ud83d", "\udc00", "\ud83d\ude00"])
def test_lone_surrogates_are_refused_by_name(text: str) -> None:
    tokenizer = Bytes.build(config=BytesConfig())
    with pytest.raises(TextError, match=r"lone surrogate U\+D[8C]"):
        tokenizer.parallel_forward(text)
    with pytest.raises(TextError, match=r"lone surrogate U\+D[8C]"):
        in_pieces(tokenizer, list(text))


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="upper"):
        BytesConfig.model_validate({"upper": True})
