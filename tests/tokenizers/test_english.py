import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lina.tokenizers.english import normalize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("on 12/31/1999 at 10:45", "on December thirty first, nineteen ninety nine at ten forty five"),
        ("In the 1990s and '80s.", "In the nineteen nineties and eighties."),
        ("12 Main St. near St. Paul's", "twelve Main Street near Saint Paul's"),
        ("Chapter IV of Henry VIII", "Chapter four of Henry the eighth"),
        (
            "3.5 lbs, 100 km/h, 5 m²",
            "three point five pounds, one hundred kilometers per hour, five square meters",
        ),
        (
            "$3.5 million, £2bn, $0.99",
            "three point five million dollars, two billion pounds, ninety nine cents",
        ),
        ("2 1/2 hours, 24/7", "two and a half hours, twenty four seven"),
        ("-5°C, 5-10%", "minus five degrees Celsius, five to ten percent"),
        ("No. 5 is here. No. I won't.", "Number five is here. No. I won't."),
        ("smith@example.com", "smith at example dot com"),
        ("NASA, HTML, MP3", "Nasa, H T M L, M P three"),
        ("Wait!!! What?!?!", "Wait! What?!"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert normalize(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Open 9am-5pm.", "Open nine A M to five P M."),
        ("A 5-km run, 12 in. long", "A five kilometer run, twelve inches long"),
        ("Dial 911 for 911 reasons", "Dial nine one one for nine hundred eleven reasons"),
        ("Act III, Scene ii", "Act three, Scene two"),
        ("C# in 5 × 3 = 15", "C sharp in five times three equals fifteen"),
        ("2^10", "two to the power of ten"),
        ("Tell us IT WORKS, IT says", "Tell us IT WORKS, I T says"),
        ("Two CDs", "Two CDs"),
    ],
)
def test_words_of_the_hard_list(text: str, words: str) -> None:
    assert normalize(text) == words


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(st.sampled_from("$1.,:/-–%AIVXsthm°' €½@#"), max_size=30)))
def test_it_never_fails_and_writes_every_ascii_digit_out(text: str) -> None:
    words = normalize(text)
    assert not set("0123456789") & set(words)
    assert normalize(text) == words


@pytest.mark.parametrize(
    "name", ["Mark Miller", "Book Lovers", "Part Diana", "Charles Ivanov", "Title Xerxes"]
)
def test_a_name_that_begins_as_a_numeral_is_none(name: str) -> None:
    assert normalize(f"I saw {name} there.") == f"I saw {name} there."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("On the 1st of October. Then", "On the first of October. Then"),
        ("on the 1st of October.", "on the first of October."),
        ("on the 1st of Oct.", "on the first of October."),
        ("on the 1st of Oct. 1999.", "on the first of October, nineteen ninety nine."),
        ("It was 3 May. He left.", "It was the third of May. He left."),
        ("Sept. 5 and Sep 6", "September fifth and September sixth"),
        ("It was in March. 5 people came.", "It was in March. five people came."),
        ("See Vol. II, Ch. 4, not Vol. A", "See Volume two, Chapter four, not Vol. A"),
        ("vol. IV of it, Fig. IX", "volume four of it, Figure nine"),
        ("Fig. C and Ch. I'm", "Fig. C and Ch. I'm"),
        ("In Part I'm late, Henry I'm not", "In Part I'm late, Henry I'm not"),
        ("No. I won't.", "No. I won't."),
        ("It uses 60W.", "It uses sixty watts."),
        ("A 60W bulb, a 9 V battery, 60W", "A sixty watt bulb, a nine volt battery, sixty watts"),
        ("5 ft 9 in, 6 ft 1 in. wide", "five feet nine inches, six feet one inch wide"),
        ("He is 5 ft 9 in tall.", "He is five feet nine inches tall."),
        ("He is 1 ft. 1 in.", "He is one foot one inch."),
        ("It is 5 ft 9 in height", "It is five feet nine in height"),
    ],
)
def test_words_that_keep_their_marks_and_units(text: str, words: str) -> None:
    assert normalize(text) == words
