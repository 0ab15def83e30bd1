from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lina.core.errors import TextError
from lina.core.text import sentences as module
from lina.core.text.pauses import PARAGRAPH_PAUSE
from lina.core.text.sentences import MOST_CHARACTERS, sentences, sentences_of_file, split_clauses

BOOK = """CHAPTER I

It was late ... or so it seemed to Mr. Smith, who
had come home at 5.30 p.m. and waited. “Who is there?” he asked. “It's me!”
cried J. R. Jones.  Nobody else spoke…

* * *

The end
"""
EXPECTED = [
    "CHAPTER I",
    f"{PARAGRAPH_PAUSE} It was late ... or so it seemed to Mr. Smith, who had come home at 5.30 p.m. and waited.",
    "“Who is there?” he asked.",
    "“It's me!” cried J. R. Jones.",
    "Nobody else spoke…",
    f"{PARAGRAPH_PAUSE} * * * The end",
]


def test_a_book() -> None:
    assert list(sentences([BOOK])) == EXPECTED


@given(st.lists(st.integers(0, len(BOOK)), max_size=8))
def test_pieces_give_the_sentences_of_the_whole(cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(BOOK)]
    pieces = [BOOK[start:end] for start, end in pairwise(bounds)]
    assert list(sentences(pieces)) == EXPECTED


@pytest.mark.parametrize("text", ["", " \n\n ", "* * *", "...\n\n!?"])
def test_nothing_to_say_is_no_sentence(text: str) -> None:
    assert list(sentences([text])) == []


def test_a_file_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(b"\xef\xbb\xbf" + BOOK.replace("\n", "\r\n").encode())
    monkeypatch.setattr(module, "PIECE", 7)
    assert list(sentences_of_file(path)) == EXPECTED


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"none.txt: cannot be read: No such file"):
        list(sentences_of_file(tmp_path / "none.txt"))
    path = tmp_path / "latin.txt"
    path.write_bytes("Grüße.".encode("latin-1"))
    with pytest.raises(TextError, match=r"latin.txt: is not UTF-8 text \(.*\); convert it first"):
        list(sentences_of_file(path))
    path.write_text("word " * 40_000)
    with pytest.raises(TextError, match=r"no sentence ends in the 100000 characters that begin with 'word w"):
        list(sentences_of_file(path))


ITEMS = ", ".join(
    ["apples", "pears", "plums", "grapes", "figs", "dates", "limes", "melons", "lemons", "peaches"] * 4
)


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        ("Hello there.", 1),
        ("We packed rope, tape, nails, and a hose.", 1),
        ("We packed rope, tape, nails, a saw, two hammers, some glue, a drill, a ladder, and a hose.", 2),
        (f"{ITEMS}.", 5),
        (" ".join(["and on it went"] * 6) + ", " + " ".join(["until it was over"] * 6) + ".", 2),
        ("word " * 200 + ".", 1),
        ("On July 4, 2024, in Austin, TX, it rained.", 1),
    ],
)
def test_long_sentences_and_lists_are_cut_at_clauses(sentence: str, parts: int) -> None:
    cut = split_clauses(sentence)
    assert " ".join(cut) == sentence
    assert len(cut) == parts
    assert max(map(len, cut)) <= MOST_CHARACTERS or parts == 1
    assert max(map(len, cut)) <= 2 * len(sentence) / parts


@given(st.text("ab,;: .-—\"'4A", max_size=400))
def test_clauses_lose_no_character(sentence: str) -> None:
    cut = split_clauses(sentence)
    assert "".join("".join(cut).split()) == "".join(sentence.split())
    assert all(cut) or cut == [""]
