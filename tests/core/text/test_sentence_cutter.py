"""The sentence cutter as a stream: equality over splits, and clauses that are final early."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.text.sentences import SentenceCutter, sentences

PIECES = [
    "Mr. Lee", " went", " home", ", and", " then ", "slept", ". ", "Yes", "! ", "?", "\n", "\n\n", "U.S. ", "Army",
    " p.m. ", "on", " July 4, 2024", "; ", " — ", "“", "” ", "5", " e.g. ", "…", "。", "Austin, TX ", "it", " ",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)
cutter = SentenceCutter()


def fold(pieces: list[str]) -> list[str]:
    found, state = list[str](), cutter.initial_state()
    for piece in pieces:
        more, state = cutter.step(piece, state)
        found += more
    return found + cutter.flush(state)


@settings(max_examples=500, deadline=None)
@given(text=texts, places=st.lists(st.integers(0, 200), max_size=8))
def test_pieces_give_the_whole(text: str, places: list[int]) -> None:
    bounds = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(bounds)]
    assert fold(pieces) == fold([text]) == fold(list(text)) == list(sentences([text]))


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_no_letter_or_digit_is_lost(text: str) -> None:
    assert [c for c in "".join(fold([text])) if c.isalnum()] == [c for c in text if c.isalnum()]


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_a_final_clause_stays_final(text: str) -> None:
    state, final = cutter.initial_state(), 0
    for character in text:
        before = state
        _, state = cutter.step(character, state)
        now = cutter.final_clauses(state)
        if state == before + character:
            assert final <= now <= len(before)
        final = now


@pytest.mark.parametrize(
    ("state", "final"),
    [
        ("We went home, and ", len("We went home, ")),
        ("We went home, an", 0),
        ("We went home, ", 0),
        ("On July 4, 2024 ", 0),
        ("In Austin, TX ", 0),
        ("He came; she left: they ", len("He came; she left: ")),
        ("“Yes,” he said ", len("“Yes,” ")),
        ("It rained — we ", len("It rained — ")),
    ],
)
def test_a_clause_is_final_once_the_next_word_is(state: str, final: int) -> None:
    assert cutter.final_clauses(state) == final
