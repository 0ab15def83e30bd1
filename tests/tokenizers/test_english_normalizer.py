"""The normalizer as a stream: equality over splits, linear cost, rules found by their first characters."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rule_characters import characters_of
from lina.core.errors import TextError
from lina.tokenizers.english import RULES
from lina.tokenizers.english.first_characters import ALL, first_characters, needed_characters
from lina.tokenizers.english.normalizer import LONGEST_SENTENCE, EnglishNormalizer
from lina.tokenizers.english.rule import CHARACTERS, Rule, RuleTable, always, pattern_hash
from tests.tokenizers.streams import cuts, split

AWKWARD = [
    "Mr. Lee", " paid ", "$5.50", "3/4/2024", "at 5 p.m. ", "Yes! ", "[həlˈoʊ] ", "[sic]", "<b>", "</b>", "&amp;", "**",
    "`x`", "\n- ", "\n\n", "“", "”", "'", "1 234 567", "27,50 €", "10:00–11:30", "Mon-Fri ", "x² + y", "12\" ", "IV ",
    "DON'T ", "https://a.example/b?c ", "/usr/bin", "привет", "東", "😀", ":-) ", "e\u0301", "\u030c", "...", "a-",
    "_", "\\",
    "v2.1 ", "2h 30m ", "No. ", "5", ". ", "[", "]", "(", ")", "|", "#", "word ", "401(k) ",
]  # fmt: skip
WORDS = ["The", "cat", "sat", "there", "and", "it", "was", "late", "so", "they", "went", "home", "quickly"]
texts = st.one_of(
    st.lists(st.sampled_from(AWKWARD), max_size=14).map("".join),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ue000"), max_size=40),
)
skipping = EnglishNormalizer(unknown="skip")


def in_pieces(normalizer: EnglishNormalizer, pieces: list[str]) -> str:
    words, state = "", normalizer.initial_state()
    for piece in pieces:
        found, state = normalizer.step(piece, state)
        assert len(state) <= LONGEST_SENTENCE
        words += found
    return words + normalizer.flush(state)


@settings(max_examples=400, deadline=None)
@given(text=texts, places=cuts)
def test_pieces_give_the_whole(text: str, places: list[int]) -> None:
    try:
        whole = skipping.parallel_forward(text)
    except TextError:
        with pytest.raises(TextError):
            in_pieces(skipping, split(text, places))
    else:
        assert in_pieces(skipping, split(text, places)) == whole
        assert in_pieces(skipping, list(text)) == whole


@settings(max_examples=400, deadline=None)
@given(text=texts)
def test_nothing_is_left_that_has_to_be_read_by_others(text: str) -> None:
    """The output is words and punctuation, and phonemes in brackets."""
    words = skipping.parallel_forward(text.replace("[", "").replace("ˈ", ""))
    plain = re.sub(r"\[x\]\(/[^()]*/\)", "", words)
    assert not re.search(r"[\d<>@&%$€£#=+^~\\{}\[\]*|_]", plain)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "The",
                "cat",
                "sat",
                "there",
                "and",
                "it",
                "was",
                "late",
                "so",
                "they",
                "went",
                "home",
                "quickly",
            ]
        ),
        max_size=20,
    )
)
def test_no_word_is_lost(chosen: list[str]) -> None:
    assert skipping.parallel_forward(" ".join(chosen)).split() == chosen


@pytest.mark.parametrize(
    "unit", ["a-", "a/", "1-", "1.", "(", "<b ", "[a](", "**a", "A ", "½", "a.b.", "'a", "&#"]
)
def test_a_long_pattern_is_normalized_in_bounded_segments(unit: str) -> None:
    text = unit * (3000 // len(unit))
    whole = skipping.parallel_forward(text)
    assert in_pieces(skipping, [text[place : place + 13] for place in range(0, len(text), 13)]) == whole


def test_a_sentence_is_final_as_soon_as_the_next_begins() -> None:
    normalizer = EnglishNormalizer()
    words, state = normalizer.step("It cost $5. T", normalizer.initial_state())
    assert (words, state) == ("It cost five dollars. ", "T")


@pytest.mark.parametrize(
    ("pattern", "first", "needed"),
    [
        (r"(?:ab|c)d", "ac", "d"),
        (r"\d+%", "0123456789", "%"),
        (r"(?=[IV]+\b)M*I", "I", "I"),
        (r"x?y", "xy", "y"),
        (r"(?<=:)a|b", "ab", ""),
    ],
)
def test_first_and_needed_characters(pattern: str, first: str, needed: str) -> None:
    compiled = re.compile(pattern)
    found = first_characters(compiled).named
    assert found - set("IV") == set(first) - set("IV")
    assert not needed or needed_characters(compiled) <= set(needed) | set("IV:")


@settings(max_examples=300, deadline=None)
@given(text=texts)
def test_a_rule_matches_nowhere_else(text: str) -> None:
    for one in RULES:
        for match in one.pattern.finditer(text):
            if match[0]:
                assert match[0][0] in first_characters(one.pattern)
                needs = needed_characters(one.pattern)
                assert not needs or needs & set(text)


def test_most_rules_begin_with_few_characters() -> None:
    assert sum(first_characters(one.pattern) == ALL for one in RULES) <= 2


def test_the_file_of_characters_is_that_of_the_rules() -> None:
    """After a change of a pattern: python -m benchmarks.rule_characters."""
    known = json.loads(CHARACTERS.read_text())
    assert known == {pattern_hash(one.source): characters_of(one.source) for one in RULES}


def test_a_pattern_that_the_file_lacks_is_analyzed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = RuleTable([*RULES, Rule("qz+", always("new"))])
    assert [one.source for one in table.of_text("qz")("q")][-1] == "qz+"
    monkeypatch.setattr("lina.tokenizers.english.rule.CHARACTERS", tmp_path / "none.json")
    derived, text = RuleTable(RULES), "On 3/4/2024 it cost $5.20 (e.g. 12 %) at www.example.org: IV & 2+2."
    for character in set(text):
        assert list(derived.of_text(text)(character)) == list(table.of_text(text)(character))


def test_few_patterns_are_compiled_for_a_sentence() -> None:
    code = """
from lina.tokenizers.english import RULES, normalize
assert normalize("Hello there, this is a test of 12 words.") == "Hello there, this is a test of twelve words."
print(sum("pattern" in vars(one) for one in RULES), len(RULES))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    compiled, rules = map(int, found.stdout.split())
    assert 0 < compiled < rules / 2
