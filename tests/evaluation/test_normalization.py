import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from whisper_normalizer.english import EnglishTextNormalizer

from lina.evaluation.normalization import WordGroup, identity, normalize, word_groups


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", "hello world"),
        ("That’s the dogs' bowl; isn't it?", "that is the dogs bowl is not it"),
        ("one-way_street", "one way street"),
        ("1,234 calls", "1234 calls"),
        ("nai\u0308ve cafe\u0301", "naive cafe"),
        ("Um, (laughs) [noise] hello <b>", "laughs noise hello b"),
        ("Mr. and Mrs. Smith", "mister and missus smith"),
        ("I won't, can't, let's", "i will not can not let us"),
        ("the colour of well...", "the color of well"),
        ("the twenty-first", "the 21st"),
        ("five dollars and fifty cents", "$5.50"),
        ("three point one four", "3.14"),
        ("6 % & 3\n% of 10%", "6% and 3% of 10%"),
        ("It was 7:30 p.m. at 12:05, or 0:59.", "it was 730 pm at 1205 or 59"),
        ("7:00, 7:00 a.m., 7:00 o'clock", "7 oclock 7 am 7 oclock"),
        ("5 o’clock", "5 oclock"),
        ("7.45 am, 7.00 PM, 7.45 amps", "745 am 7 pm 7.45 amps"),
        ("25:00 and 7:61 and 1:02:03", "25 0 and 7 61 and one 2 3"),
        ("... !", ""),
        ("% $ .", ""),
        ("", ""),
    ],
)
def test_english(text: str, words: str) -> None:
    assert " ".join(normalize(text, "en")) == words
    assert normalize(text, "en-US") == normalize(text, "EN_gb") == normalize(text, "en")


def test_other_languages() -> None:
    assert normalize("¿Qué (tal) 12 %?", "es") == ["qué", "tal", "12"]
    assert normalize("Mr. Smith", "de") == ["mr", "smith"]
    assert normalize("你好，世界", "zh-CN") == ["你", "好", "世", "界"]


words = st.lists(
    st.sampled_from(
        [
            "mister",
            "smith",
            "came",
            "home",
            "late",
            "because",
            "nobody",
            "knew",
            "the",
            "colour",
            "of",
            "it",
            "twenty",
            "five",
            "1984",
            "um",
        ]
    ),
    max_size=12,
    unique=True,
).map(" ".join)


@given(words)
def test_plain_texts_are_as_whisper_has_them(text: str) -> None:
    """Texts without our forms and without runaways: rates are comparable to published ones."""
    assert normalize(text, "en") == EnglishTextNormalizer()(text).split()


pieces = st.sampled_from(
    [
        "one",
        "two",
        "twenty",
        "fifty",
        "hundred",
        "million",
        "and",
        "a",
        "half",
        "point",
        "per",
        "cent",
        "percent",
        "dollar",
        "pounds",
        "minus",
        "double",
        "oh",
        "zero",
        "first",
        "tens",
        "0",
        "1",
        "12",
        "555",
        "1984",
        "3.5",
        "$5",
        "£",
        "%",
        ".",
        "...",
        ",",
        "(",
        "]",
        "<",
        "'",
        "’",
        "-",
        "&",
        "o'clock",
        "7:30",
        "7:00",
        "p.m.",
        "Mr.",
        "Smith",
        "um",
        "²",
        "½",
        "٣",
        "5.",
        "000",
        "é",
        "一",
        "th",
        "isn't",
        "it's",
        "the",
        "colour",
    ]
)
texts = st.lists(st.one_of(pieces, st.text(max_size=4)), max_size=8).map(" ".join)
languages = st.sampled_from(["en", "fr", "ja"])


@given(texts, languages)
def test_groups_have_the_words_of_the_text(text: str, language: str) -> None:
    groups = word_groups(text, language)
    assert [word for group in groups for word in group.words] == normalize(text, language)
    assert " ".join(group.text for group in groups) == " ".join(text.split())
    assert all(group.words for group in groups) or not normalize(text, language)


@example("one one one cent", "en")
@given(texts, languages)
def test_a_word_has_a_letter_or_a_digit_and_no_space(text: str, language: str) -> None:
    for word in normalize(text, language):
        assert any(character.isalnum() for character in word)
        assert word.split() == [word]


def test_groups() -> None:
    assert word_groups("Um, Mr. Smith's 12 % at seven thirty. Uh.", "en") == [
        WordGroup("Um, Mr.", ("mister",)),
        WordGroup("Smith's", ("smith", "is")),
        WordGroup("12 %", ("12%",)),
        WordGroup("at", ("at",)),
        WordGroup("seven thirty. Uh.", ("730",)),
    ]
    assert word_groups(" \n", "en") == []
    assert word_groups("?", "en") == [WordGroup("?", ())]


@pytest.mark.parametrize(
    "digits", ["1" * 5000, "12," * 3000, "123," * 3000, "3." + "4" * 5000, "five " * 5000]
)
def test_a_runaway_of_digits_is_read(digits: str) -> None:
    """Python converts no number of more than 4,300 digits."""
    assert sum(map(len, normalize(digits, "en"))) >= 4999


def test_results_know_what_they_depend_on() -> None:
    assert "whisper-normalizer" in identity()
