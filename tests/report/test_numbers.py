import math
from collections.abc import Callable

import pytest

from lina.report.numbers import count, duration, percent, short


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (percent, 0.0312, "3.1 %"),
        (percent, 1.2, "120.0 %"),
        (percent, math.nan, "not a number"),
        (duration, 0.04, "0.0 s"),
        (duration, 59.99, "60.0 s"),
        (duration, 118.4, "1 min 58 s"),
        (duration, 120.0, "2 min"),
        (duration, 3599.6, "1 h"),
        (duration, 7300, "2 h 1 min"),
        (count, 999, "999"),
        (count, 12345, "12,345"),
        (count, 5_234_567, "5.23 M"),
        (count, 1_500_000_000, "1.5 G"),
        (short, 0.0, "0"),
        (short, 0.001, "0.001"),
        (short, 1e-5, "1e-5"),
        (short, 1500.0, "1,500"),
        (short, 20_000.0, "20k"),
        (short, -2_500_000.0, "-2.5M"),
        (short, math.inf, "not a number"),
    ],
)
def test_numbers_read_well(function: Callable[[float], str], value: float, expected: str) -> None:
    assert function(value) == expected
