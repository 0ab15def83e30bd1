"""Formulas: single letters as names of numbers, powers, functions, minus."""

import re

from lina.tokenizers.english.amounts import NUMBER
from lina.tokenizers.english.numbers import number
from lina.tokenizers.english.rule import Rule, Style, always, spell
from lina.tokenizers.english.units import UNITS

_POWERS = {"²": "squared", "³": "cubed", "^2": "squared", "^3": "cubed", "**2": "squared", "**3": "cubed"}
_FUNCTIONS = {
    "sin": "sine",
    "cos": "cosine",
    "tan": "tangent",
    "log": "log",
    "ln": "L N",
    "exp": "exp",
    "max": "max",
    "min": "min",
}
_OPERATOR = r"[+=×÷^<>≤≥≠≈]"
_VARIABLE = r"(?<![\w'’.])([A-Za-z])(?![\w'’])"


def _letter(match: re.Match[str], style: Style) -> str:
    return match[1].upper()


def _power(match: re.Match[str], style: Style) -> str:
    letters, power = match[1], _POWERS[match[2]]
    if letters in UNITS:
        return f"{'square' if power == 'squared' else 'cubic'} {UNITS[letters][1]}"
    return f"{spell(letters, style)} {power}"


def _function(match: re.Match[str], style: Style) -> str:
    name = match[1]
    return f"{_FUNCTIONS.get(name) or name.upper()} of {match[2].upper() if len(match[2]) == 1 else match[2]}"


def _coefficient(match: re.Match[str], style: Style) -> str:
    power = f" {_POWERS[match[3]]}" if match[3] else ""
    return f"{number(match[1])} {match[2].upper()}{power}"


def _times(match: re.Match[str], style: Style) -> str:
    """``4x faster``."""
    return f"{number(match[1])} times"


def _speed(match: re.Match[str], style: Style) -> str:
    """``m/s²`` without a number."""
    return f"{UNITS[match[1]][1]} per {UNITS[match[2]][0]}{' squared' if match[3] else ''}"


def _difference(match: re.Match[str], style: Style) -> str:
    return f"{number(match[1]) if match[1][0].isdecimal() else match[1].upper()} minus "


RULES: tuple[Rule, ...] = (
    Rule(r"(?<![\w'’])([A-Za-z]{1,3})([²³]|(?:\^|\*\*)[23](?!\d))", _power),
    Rule(rf"({NUMBER})([A-Za-z])([²³]|\^[23](?!\d))(?!\w)", _coefficient),
    Rule(rf"({NUMBER})(?!e[-−+]?\d)([a-z])()(?=\s?[-+=)^*]\s?[\w(])(?<!\ds)", _coefficient),
    Rule(rf"(?<=[+=×] )({NUMBER})([a-z])()(?!\w)", _coefficient),
    Rule(rf"({NUMBER})\s?[x×](?=[\s.,;:!?)]|$)(?!\s?\d|\s?[x×=+])", _times),
    Rule(r"(?<![\w'’])([a-zA-Z]|sin|cos|tan|log|ln|exp)\(([a-z]|\d)\)", _function),
    Rule(rf"({NUMBER}|(?<![\w'’])[a-z](?!\w))\s[-−]\s(?=[\da-z](?:[\d.]*\b)[^.!?]{{0,20}}=)", _difference),
    Rule(r"(?<=\d )/(?= \d[^.!?]{0,20}=)", always("divided by")),
    Rule(r"(?<![\w/])(km|m|mi)/(h|s)([²2])?(?![\w/])", _speed),
    Rule(rf"{_VARIABLE}(?=\s?{_OPERATOR}\s?[\w(−-])", _letter),
    Rule(rf"(?<=[+=×÷≤≥≠≈] ){_VARIABLE}|(?<=[+=×÷]){_VARIABLE}", lambda match, style: match[0].upper()),
)
