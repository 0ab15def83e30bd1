"""Formatting of numbers."""

import math


def percent(share: float) -> str:
    """Format 0.0312 as ``3.1 %``."""
    return f"{100 * share:.1f} %" if math.isfinite(share) else "not a number"


def duration(seconds: float) -> str:
    """Format 4.25 as ``4.2 s``, 118 as ``1 min 58 s``, 7300 as ``2 h 1 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def count(number: int) -> str:
    """Format 5234567 as ``5.23 M``, 12345 as ``12,345``."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,}"


def short(value: float) -> str:
    """Format with up to four digits, for tables and axes: ``0.001``, ``1e-5``, ``1,500``, ``20k``."""
    if not math.isfinite(value):
        return "not a number"
    if abs(value) >= 1e4:
        for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.4g}{name}"
    if 1e3 <= abs(value) < 1e4:
        return f"{value:,.0f}"
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa
