"""Ids of a corpus's texts: the tokenizer's own, made once."""

from pathlib import Path

import pytest

from lina.core.protocols import Tokenizer
from lina.data.text_ids import encode_corpus_texts
from lina.tokenizers.bytes import Bytes, BytesConfig

TEXTS = [f"text {number}" for number in range(600)]


def tokenizer() -> Tokenizer:
    return Bytes.build(config=BytesConfig())


def never() -> Tokenizer:
    raise AssertionError("the ids were made again")


@pytest.mark.parametrize("workers", [1, 2])
def test_ids_are_the_tokenizers_and_encoded_once(tmp_path: Path, workers: int) -> None:
    file = tmp_path / "text.safetensors"
    expected = [tokenizer().parallel_forward(text) for text in TEXTS]
    assert encode_corpus_texts(TEXTS, file, "a", tokenizer, workers) == expected
    assert encode_corpus_texts(TEXTS, file, "a", never) == expected


@pytest.mark.parametrize("damage", ["another key", "cut", "other texts"])
def test_they_are_made_again_where_they_do_not_fit(tmp_path: Path, damage: str) -> None:
    file, texts, key = tmp_path / "text.safetensors", TEXTS, "a"
    encode_corpus_texts(texts, file, key, tokenizer)
    if damage == "another key":
        key = "b"
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        texts = TEXTS[:-1]
    assert encode_corpus_texts(texts, file, key, tokenizer) == [
        tokenizer().parallel_forward(text) for text in texts
    ]
