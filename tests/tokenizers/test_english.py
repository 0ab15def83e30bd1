import pytest

from lina.tokenizers.english import normalise


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
    assert normalise(text) == words
