"""The sentence cutter as a stream: equality over splits, and clauses that are final early."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.normalizer_speed import PATTERNS
from lina.core.text.pauses import PARAGRAPH_PAUSE
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
    output = "".join(fold([text])).replace(PARAGRAPH_PAUSE, "")
    assert [c for c in output if c.isalnum()] == [c for c in text if c.isalnum()]


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_a_final_clause_stays_final(text: str) -> None:
    state, final = cutter.initial_state(), 0
    for character in text:
        before = state
        _, state = cutter.step(character, state)
        now = state.final
        if state.text == before.text + character:
            assert final <= now <= len(before.text)
        final = now


@pytest.mark.parametrize(
    ("text", "final"),
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
def test_a_clause_is_final_once_the_next_word_is(text: str, final: int) -> None:
    state = cutter.initial_state()
    for character in text:
        _, state = cutter.step(character, state)
    assert state.final == final == cutter.step(text, cutter.initial_state())[1].final


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(st.sampled_from("aA1 .!…”)\n\u2028。-*#<>/ilU"), max_size=60),
    filler=st.sampled_from(
        ["", "word " * 1100, "ab, " * 1400, "." * 1300, " " * 1300, "\n" * 700, "a" * 5000]
    ),
    at=st.integers(0, 60),
)
def test_long_runs_change_nothing(text: str, filler: str, at: int) -> None:
    text = text[:at] + filler + text[at:]
    whole = fold([text])
    assert fold(list(text)) == whole
    assert fold([text[i : i + 7] for i in range(0, len(text), 7)]) == whole


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=list(PATTERNS))
def test_character_by_character_takes_linear_time(pattern: str) -> None:
    """Twice the text takes twice the time: far less than four times, with room for a busy machine."""
    spent = []
    for size in (10_000, 20_000):
        text = (pattern * size)[:size]
        began = time.process_time()
        fold(list(text))
        spent.append(time.process_time() - began)
    assert spent[1] < 3.2 * spent[0] + 0.1
    assert spent[1] < 2.0


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("# Fruit\nWe like it.", ["# Fruit", "We like it."]),
        (
            "Buy this:\n- apples\n- pears\nThen come home.",
            ["Buy this:", "- apples", "- pears", "Then come home."],
        ),
        ("* a long item that\n  goes on\n* another", ["* a long item that goes on", "* another"]),
        ("1. Open it.\n2. Look inside\n3) Close it", ["1. Open it.", "2. Look inside", "3) Close it"]),
        ("Text\n## Next\nmore", ["Text", "## Next", "more"]),
        ("<h1>Fruit</h1><p>We like it</p><p>So</p>", ["<h1>Fruit</h1>", "<p>We like it</p>", "<p>So</p>"]),
        ("<ul><li>figs</li><li>dates</li></ul>", ["<ul><li>figs</li>", "<li>dates</li>"]),
        ("a line\nwrapped - here\nand 12\ndone", ["a line wrapped - here and 12 done"]),
        ("It was 1987. Then", ["It was 1987.", "Then"]),
        ("one\u2028two", ["one", "two"]),
    ],
)
def test_headings_and_list_items_are_sentences(text: str, sentences: list[str]) -> None:
    assert fold(list(text)) == fold([text]) == sentences


@pytest.mark.parametrize("gap", ["\n\n", " \n \n ", "\u2029"])
def test_a_paragraph_begins_with_a_pause(gap: str) -> None:
    text = f"One. Two.{gap}Three.\nFour."
    assert fold(list(text)) == fold([text]) == ["One.", "Two.", f"{PARAGRAPH_PAUSE} Three.", "Four."]
    assert fold([f"{gap}One."]) == ["One."], "nothing was said before"
