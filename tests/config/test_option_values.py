from typing import Any

import pytest

from lina.config.option_values import option_values
from lina.config.sections import SynthesizeSection
from lina.config.validation import validate
from lina.core.errors import SpecError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-3", -3),
        ("+3", 3),
        ("0.7", 0.7),
        (".7", 0.7),
        ("7.", 7.0),
        ("1e-1", 0.1),
        ("1E2", 100.0),
        ("-.5e-3", -0.0005),
        (" 2 ", 2),
        ("0.7, 1,x", [0.7, 1, "x"]),
        ("0.7,", [0.7, ""]),
        ("", ""),
        ("hot", "hot"),
        ("1.2.3", "1.2.3"),
        ("nan", "nan"),
        ("٣", "٣"),
        ("\udcff", "\\udcff"),
        ("9" * 401, "9" * 401),
    ],
)
def test_numbers_and_lists_of_them_are_read(text: str, value: Any) -> None:
    tree, origin = option_values({"temperature": text})
    assert tree == {"temperature": value}
    found = tree["temperature"]
    assert type(found) is type(value)
    assert origin.where(("temperature",)) == "command line"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": "9" * 20}, "seed: a whole number of more than 64 bits is not allowed"),
        ({"temperature": "1e999"}, "temperature: expected a finite number, found Infinity"),
        ({"temperature": "1,\udcff"}, r'temperature.1: expected a number, found "\\udcff"'),
        ({"seed": "0.5"}, "seed: expected a whole number, found 0.5"),
        (
            {"top_k": "0", "top_p": "2"},
            "top_k: expected a number greater than or equal to 1, found 0 (and 1 more mistake)",
        ),
    ],
)
def test_mistakes_are_those_of_a_spec(options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecError) as error:
        validate(SynthesizeSection, *option_values(options))
    assert str(error.value) == f"command line: {message}"
