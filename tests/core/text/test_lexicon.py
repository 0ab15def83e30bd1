"""A lexicon of one's own: the file, and how its words are found."""

import os
from pathlib import Path

import pytest

from lina.core.errors import TextError
from lina.core.text.lexicon import Lexicon, read_lexicon
from lina.tokenizers.phonemes import Phonemes
from tests.tokenizers.streams import in_pieces


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_text("\ufeff# names\nLina\tlˈinə\n\nC++\tsˈi plˈʌs\n", encoding="utf-8")
    assert read_lexicon(path) == {"Lina": "lˈinə", "C++": "sˈi plˈʌs"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"word\n", "words.tsv:1: expected a word, a tab and its phonemes, found 'word'"),
        (b"a\tb\nword\t\n", "words.tsv:2: expected"),
        (b"a\tb\na\tc\n", "words.tsv:2: 'a' has other phonemes already"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "words.tsv"
    path.write_bytes(content)
    with pytest.raises(TextError, match=r"\A[^\n]+\Z") as caught:
        read_lexicon(path)
    assert message in str(caught.value)


def test_a_missing_file_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # opening it would wait
    for name, reason in (("none.tsv", "cannot be read: No such file"), ("pipe", "is a pipe")):
        with pytest.raises(
            TextError, match=rf"{name}: {reason}.*; a lexicon is a text file with a word, a tab"
        ):
            read_lexicon(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Say tomato.", "Say [təmˈA]."),
        ("TOMATO's Tomato", "[təmˈAz] [təmˈA]"),
        ("a tomato-soup", "a [təmˈA]-soup"),
        ("tomatoes", "tomatoes"),
        ("Use C++ or c++.", "Use [sˈi] or [sˈi]."),
        ("us or US", "us or [ˈjuɛs]"),
        ("[tomato] stays", "[tomato] stays"),
        ("New York's", "[nˈu jˈɔɹk]'s"),
    ],
)
def test_words_are_found(text: str, marked: str) -> None:
    lexicon = Lexicon({"tomato": "təmˈA", "c++": "sˈi", "US": "juɛs", "New York": "nˈu jˈɔɹk"})
    assert lexicon.mark(text) == marked


def test_the_tokenizer_reads_its_words_by_their_phonemes() -> None:
    tokenizer = Phonemes.build(**Phonemes.example()).with_lexicon({"tomato": "təmˈAɹ", "3D": "ðɹˈi"})
    text = "A tomato in 3D. Tomato's end."
    assert tokenizer.phonemes("A tomato in 3D.") == "ɐ təmˈAɹ ɪn ðɹˈi."
    assert in_pieces(tokenizer, list(text)) == tokenizer.parallel_forward(text)
    with pytest.raises(TextError, match=r"lexicon, word 'x': .*'7' is no phoneme"):
        tokenizer.with_lexicon({"x": "t7"})
