"""Ends of sentences: rules, independence of the text around, linear time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lina.core.text.sentence_ends import sentence_end


def split_sentences(text: str) -> list[str]:
    found, start = [], 0
    while (end := sentence_end(text, start)) is not None:
        found.append(text[start:end].strip())
        start = end
    return [sentence for sentence in [*found, text[start:].strip()] if sentence]


texts = st.one_of(
    st.text(st.sampled_from("aB1 .!?…\"')。」\n\t\u00a0Mr"), max_size=60),
    st.text(max_size=40),
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("Mr. Smith met Dr. Jones. They spoke.", ["Mr. Smith met Dr. Jones.", "They spoke."]),
        ("Pi is 3.14 or so. Use e.g. Tau.", ["Pi is 3.14 or so.", "Use e.g. Tau."]),
        ("J. K. Rowling wrote. So did I. Really.", ["J. K. Rowling wrote.", "So did I.", "Really."]),
        ('He said "Go." Then (quietly!) left.', ['He said "Go."', "Then (quietly!) left."]),
        ("“Really?” she asked. “Yes.”", ["“Really?” she asked.", "“Yes.”"]),
        ("Wait... what? Well… Yes.", ["Wait... what?", "Well…", "Yes."]),
        ("At 5 p.m. we left. At 6 p.m. We ate.", ["At 5 p.m. we left.", "At 6 p.m.", "We ate."]),
        ("你好。今天好吗？「好！」他说", ["你好。", "今天好吗？", "「好！」", "他说"]),
        ("A heading\n\nIts text\nruns on", ["A heading", "Its text\nruns on"]),
        ("... and ... ! ok", ["... and ... ! ok"]),
        ("So . . . What?", ["So . . .", "What?"]),
        ("See it (Mr. X). Bye", ["See it (Mr. X).", "Bye"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(texts)
def test_no_character_but_blanks_is_lost(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


@given(texts, texts)
def test_following_text_never_moves_an_end(text: str, more: str) -> None:
    end = sentence_end(text)
    if end is not None:
        assert sentence_end(text + more) == end


@given(texts, texts)
def test_preceding_text_never_moves_an_end(text: str, before: str) -> None:
    end = sentence_end(text)
    assert sentence_end(before + text, len(before)) == (None if end is None else end + len(before))


@pytest.mark.parametrize(
    "unit", ["a", "!", ". ", " ", "\n", '."', "Mr. ", "a.", "a. ", "A. ", "。", "? a", "\n\n", "'"]
)
def test_time_is_linear(unit: str) -> None:
    text = unit * 100_000 + "!"
    started = time.process_time()
    split_sentences(text)
    assert time.process_time() - started < 3.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The U.S. Army came. It left.", ["The U.S. Army came.", "It left."]),
        ("He is in the U.S. He works.", ["He is in the U.S.", "He works."]),
        ("At 5 p.m. Monday we left. So.", ["At 5 p.m. Monday we left.", "So."]),
        ("Gen. Lee went to Ft. Knox.", ["Gen. Lee went to Ft. Knox."]),
        ("See No. 5 on p. 12. Good.", ["See No. 5 on p. 12.", "Good."]),
        ("No. I won't.", ["No.", "I won't."]),
        ("On Jan. 5 it snowed.", ["On Jan. 5 it snowed."]),
        ("He paid $3.50 for it. Good.", ["He paid $3.50 for it.", "Good."]),
        ("“Oh…” he said. “Well.” He rose.", ["“Oh…” he said.", "“Well.”", "He rose."]),
    ],
)
def test_abbreviations_do_not_end_a_sentence(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected
    ends = [sentence_end(text[:cut]) for cut in range(len(text) + 1)]
    assert {end for end in ends if end is not None} <= {sentence_end(text)}
