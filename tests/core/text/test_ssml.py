"""SSML: the elements that are read, warnings for all others, and that no letter is lost."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.core.text.pauses import (
    MAX_RATE,
    MIN_RATE,
    PARAGRAPH_PAUSE,
    TextPart,
    has_mark,
    literal,
    parts,
    without_marks,
)
from lina.core.text.sentences import sentences_of_text
from lina.core.text.ssml import has_ssml, strip_ssml, warn_once


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<speak>Hello there.</speak>", "Hello there."),
        ('<speak version="1.1" xml:lang="en-US">R&amp;D &lt; x</speak>', "R&D < x"),
        ('<?xml version="1.0"?><speak>Hi<!-- not this --></speak>', "Hi"),
        ('<sub alias="doctor">Dr</sub> Lee', "doctor Lee"),
        ('a <phoneme alphabet="ipa" ph="təˈmeɪtoʊ">tomato</phoneme>', "a [təˈmeɪtoʊ]"),
        ('a <phoneme ph="kæt">cat</phoneme>', "a [ˈkæt]"),
        ('<say-as interpret-as="characters">ABC1</say-as>', "A.B.C. 1"),
        ('<say-as interpret-as="spell-out">x</say-as>', "X"),
        ('<say-as interpret-as="digits">0421</say-as>', "0 4 2 1"),
        ('<say-as interpret-as="telephone">555-12</say-as>', "5 5 5, 1 2"),
        ('<say-as interpret-as="ordinal">22</say-as>', "22nd"),
        ('<say-as interpret-as="ordinal">11</say-as>', "11th"),
        ('<say-as interpret-as="cardinal">11</say-as>', "11"),
        ('<say-as interpret-as="date" format="dmy">3/4/2024</say-as>', "2024-04-03"),
        ('<say-as interpret-as="date" format="mdy">3/4/99</say-as>', "1999-03-04"),
        ("a < b and c > d", "a < b and c > d"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("<speak>open <sub alias='x'>y", "open y"),
    ],
)
def test_entries_are_read(text: str, plain: str) -> None:
    assert strip_ssml(text, phonemes=True) == plain


def test_paragraphs_and_sentences_are_sentences_of_their_own() -> None:
    plain = strip_ssml("<speak><p><s>one two</s><s>three</s></p><p>four</p></speak>", phonemes=True)
    assert sentences_of_text(plain) == ["one two", "three", f"{PARAGRAPH_PAUSE} four"]


@pytest.mark.parametrize(
    ("element", "seconds"),
    [
        ('<break time=".5s"/>', 0.5),
        ('<break time="250ms"></break>', 0.25),
        ("<break/>", 0.4),
        ('<break strength="x-strong"/>', 1.2),
        ("<break strength='none' time='1s' />", 1.0),
    ],
)
def test_every_form_of_a_break(element: str, seconds: float) -> None:
    for text in (f"one {element} two", f"<speak>one {element} two</speak>"):
        found = parts(strip_ssml(text, phonemes=True))
        assert [(silence, part) for silence, _, part in found] == [(0.0, "one"), (seconds, "two")]


@pytest.mark.parametrize(
    ("text", "plain", "named"),
    [
        ('<speak>a <emphasis level="strong">b</emphasis> c</speak>', "a b c", "<emphasis>"),
        ('<prosody pitch="+2st">a b</prosody>', "a b", "prosody pitch='+2st' is left out"),
        ('<prosody rate="quick">a b</prosody>', "a b", "rate='quick' is left out; write 80%"),
        ('<prosody rate="9%">a b</prosody>', "a b", "rate='9%' is read as 40%"),
        ("<speak><metadata>x</metadata>a</speak>", "a", "<metadata>"),
        ('<say-as interpret-as="spellout">ab</say-as>', "ab", "'spellout'"),
        ('<phoneme alphabet="x-sampa" ph="k{t">cat</phoneme>', "cat", "alphabet ipa"),
    ],
)
def test_all_else_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture, text: str, plain: str, named: str
) -> None:
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "lina"):
        assert without_marks(strip_ssml(text, phonemes=True)) == plain
    assert [named in message for message in caplog.messages] == [True]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("x-slow", 0.6),
        ("slow", 0.8),
        ("medium", 1.0),
        ("default", 1.0),
        ("fast", 1.25),
        ("X-Fast", 1.6),
        ("80%", 0.8),
        ("150 %", 1.5),
        ("+20%", 1.2),
        ("-25%", 0.75),
        (".5", 0.5),
        ("1.2", 1.2),
        ("0%", MIN_RATE),
        ("1000%", MAX_RATE),
        ("+1", 1.0),
        ("", 1.0),
    ],
)
def test_every_form_of_a_rate(rate: str, expected: float) -> None:
    text = f'<speak>One. <prosody rate="{rate}">Two. Three.</prosody> Four.</speak>'
    found = list(parts(strip_ssml(text, phonemes=True)))
    assert found == [
        TextPart(0.0, None, "One."),
        TextPart(0.0, expected, "Two. Three."),
        TextPart(0.0, 1.0, "Four."),
    ]


def test_rates_within_rates_and_without_an_end() -> None:
    text = '<prosody rate="50%">a <prosody rate="+50%">b</prosody> c <prosody pitch="low">d</prosody></prosody> e'
    found = [(rate, part) for _, rate, part in parts(strip_ssml(text, phonemes=True))]
    assert found == [(0.5, "a"), (0.75, "b"), (0.5, "c"), (0.5, "d"), (1.0, "e")]
    left_open = strip_ssml('<prosody rate="fast">Only this sentence.', phonemes=True)
    assert list(parts(left_open)) == [TextPart(0.0, 1.25, "Only this sentence."), TextPart(0.0, 1.0, "")]
    marked = strip_ssml('From here on <prosody rate="fast"/> faster. And on.', phonemes=True)
    assert (
        strip_ssml(marked, phonemes=True) == marked == 'From here on <prosody rate="1.25"/> faster. And on.'
    )
    spelled = '<say-as interpret-as="characters"><prosody rate="fast">AB</prosody></say-as>'
    assert strip_ssml(spelled, phonemes=True) == "A.B."


def test_an_escaped_mark_is_no_mark() -> None:
    plain = strip_ssml("<speak>a &lt;prosody rate=&quot;2&quot;/> b &lt;break/&gt;</speak>", phonemes=True)
    assert not has_mark(plain)
    assert literal(plain) == 'a <prosody rate="2"/> b <break/>'


def test_a_tokenizer_of_letters_reads_the_word_of_a_phoneme(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING, "lina"):
        assert strip_ssml('<phoneme ph="kˈæt">cat</phoneme>', phonemes=False) == "cat"
    assert "reads letters" in caplog.text


TAGS = [
    "<speak>", "</speak>", "<p>", "</p>", "<s>", "</s>", "<break/>", "<emphasis>", "</emphasis>", "<prosody rate='x'>",
    "</prosody>", "<voice name='a'>", "</voice>", "<mark name='m'/>", "word", " ", "&amp;", "<", ">", "1.5",
    "<unknown>", "é",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=12).map("".join))
def test_no_letter_outside_of_tags_is_lost(text: str) -> None:
    plain = strip_ssml(text, phonemes=True)
    assert strip_ssml(plain, phonemes=True) == plain
    plain = without_marks(plain)
    letters = "".join(re.findall(r"word|1\.5|é", text))
    assert "".join(re.findall(r"word|1\.5|é", plain)) == letters


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("<>/speak sub\"'=&;ab! -"), max_size=60))
def test_any_text_passes(text: str) -> None:
    assert has_ssml(text) or strip_ssml(text, phonemes=True) == text
    strip_ssml("<speak>" + text, phonemes=False)


@pytest.mark.parametrize(
    "unit", ["<speak ", "<sub alias='", "<!--", "<s>", "<sub alias='x'>a", "</s>", "<break ", "&lt;"]
)
def test_a_long_text_takes_linear_work(unit: str) -> None:
    assert isinstance(strip_ssml("<speak>" + unit * (200_000 // len(unit)), phonemes=True), str)
