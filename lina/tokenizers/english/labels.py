"""Numbers used as labels: rooms, forms, versions, postal codes, serial numbers."""

import re

from lina.tokenizers.english.numbers import digits, number, pairs
from lina.tokenizers.english.rule import Rule, Style, one_of, spell

_NUMBERED = {
    "Apt": "apartment", "Ste": "suite", "Rm": "room", "Bldg": "building", "Fl": "floor", "Blk": "block",
    "Ext": "extension", "Tel": "telephone", "Flt": "flight", "Hwy": "highway", "Rte": "route", "Pg": "page",
}  # fmt: skip
_NUMBERED |= {short.lower(): word for short, word in _NUMBERED.items()}
_PLACES = [
    "Room", "Floor", "Apartment", "Suite", "Unit", "Flat", "Gate", "Seat", "Row", "Platform", "Bus", "Route", "Level",
    "Building", "Block", "Lot", "Bay", "Terminal", "Track", "Line", "Class", "Form", "Section", "Exhibit", "Appendix",
    "Figure", "Table", "Number", "Flight", "Highway", "Interstate", "House", "Door", "Cell", "Ward", "Locker", "Bus",
    "Grade", "Question", "Part", "Year", "Group", "Hall", "Dorm", "Stand", "Pier", "Exit", "Zone",
]  # fmt: skip
_PLACE = one_of([*_PLACES, *map(str.lower, _PLACES)])
_SOFTWARE = one_of([
    "Python", "Java", "Node", "Ubuntu", "macOS", "iOS", "Android", "Windows", "Linux", "kernel", "version", "Version",
    "release", "Release", "PHP", "Ruby", "Go", "Rust", "Perl", "PostgreSQL", "Postgres", "MySQL", "Django", "CUDA",
    "PyTorch", "Debian", "Firefox", "Chrome", "Kubernetes", "TLS", "USB", "Bluetooth", "OpenGL", "Swift", "Kotlin",
    "Scala", "Angular", "React", "Vue", "Unity", "Safari", "Docker", "Git", "NumPy", "Fedora", "Blender", "GPT",
    "Llama",
])  # fmt: skip
_STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho",
    "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana", "ME": "Maine",
    "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota", "MS": "Mississippi", "MO": "Missouri",
    "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire", "NJ": "New Jersey", "NM": "New Mexico",
    "NY": "New York", "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon",
    "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee",
    "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington", "WV": "West Virginia",
    "WI": "Wisconsin", "WY": "Wyoming", "DC": "D C",
}  # fmt: skip
_WORDS_TOO = ["HI", "ID", "IN", "LA", "ME", "OH", "OK", "OR", "PA", "MA", "MD", "MS", "CT", "AL", "DC"]
"""Postal codes that need a number after them, because a comma may come before these words too."""


def _zip(match: re.Match[str], style: Style) -> str:
    plus = f", {digits(match[3])}" if match[3] else ""
    return f"{_STATES[match[1]]} {digits(match[2])}{plus}"


def _state(match: re.Match[str], style: Style) -> str:
    return _STATES[match[0]]


def _digits_after(match: re.Match[str], style: Style) -> str:
    return f"{match[1]} {digits(match[2])}" + (f", {digits(match[3])}" if match[3] else "")


def _isbn(match: re.Match[str], style: Style) -> str:
    check = " X" if match[2][-1] in "xX" else ""
    return f"{spell(match[1], style)} {digits(match[2])}{check}"


def _serial(match: re.Match[str], style: Style) -> str:
    return ", ".join(map(digits, match[0].split("-")))


def _numbered(match: re.Match[str], style: Style) -> str:
    """``Apt. #4B`` as ``Apartment number 4B``; the number is left to the rule for places."""
    word = _NUMBERED[match[1]]
    return (
        (word.capitalize() if match[1][0].isupper() else word)
        + (" number" if match[2] else "")
        + _place_number(match, style)
    )


def _place(match: re.Match[str], style: Style) -> str:
    return match[1] + (" number" if match[2] else "") + _place_number(match, style)


def _room(match: re.Match[str], style: Style) -> str:
    """``Room 101``, ``Rooms 101-105``."""
    to = f" to {pairs(match[5])}" if match[5] else ""
    return f"{match[1]}{match[2]}{' number' if match[3] else ''} {pairs(match[4])}{to}"


def _place_number(match: re.Match[str], style: Style) -> str:
    letter = f" {match[4].upper()}" if match[4] else ""
    return f" {pairs(match[3])}{letter}"


def _numbered_letter(match: re.Match[str], style: Style) -> str:
    """``floor 2B``, ``4B``: a number and a letter are read one after the other."""
    return f"{pairs(match[1])} {match[2]}"


def _clauses(match: re.Match[str], style: Style) -> str:
    """``401(k)``, ``501(c)(3)``."""
    return " ".join(
        [
            pairs(match[1]),
            *(pairs(one) if one.isdecimal() else one.upper() for one in re.findall(r"\w", match[2])),
        ]
    )


def _version(match: re.Match[str], style: Style) -> str:
    return f"version {' point '.join(map(number, match[1].split('.')))}"


def _software(match: re.Match[str], style: Style) -> str:
    """After its name a version is no decimal number: ``3.12`` is ``three point twelve``."""
    return f"{match[1]}{match[2]}{' point '.join(map(number, match[3].split('.')))}"


RULES: tuple[Rule, ...] = (
    Rule(rf"({one_of(_STATES)})\s(\d{{5}})(?:-(\d{{4}}))?(?![\w-])", _zip),
    Rule(rf"(?<=[a-z], )(?!{'|'.join(_WORDS_TOO)})({one_of(_STATES)})(?=[.,;:!?)]|\s|$)", _state),
    Rule(
        r"((?:ZIP|[Zz]ip)(?:\s?code)?:?|PIN:?|[Pp]asscode:?)\s(\d{4,6})(?:-(\d{4}))?(?![\w.,-]\d)",
        _digits_after,
    ),
    Rule(r"(ISBN|ISSN)(?:-1[03])?:?\s?(\d[\d -]{6,16}[\dXx])(?!\w)", _isbn),
    Rule(r"\d{1,8}(?:-\d{1,8}){3,9}(?![\w-])", _serial),
    Rule(rf"({one_of(_NUMBERED)})\.?\s?(#|[Nn]o\.?\s)?(\d{{1,5}})([A-Za-z])?(?![\w]|[.,:]\d)", _numbered),
    Rule(rf"({_PLACE})\s(#|[Nn]o\.?\s)?(\d{{1,5}})([A-Z])(?!\w)", _place),
    Rule(
        r"(Room|room|Flight|flight|Route|route|Highway|Interstate|Apartment|Suite)(s?)\s(#)?(\d{3,4})(?:\s?[-–]\s?(\d{3,4}))?(?!\w|[.,-]\d)",
        _room,
    ),
    Rule(r"(\d{3,4})((?:\([a-zA-Z0-9]\))+)(?!\w)", _clauses),
    Rule(r"(?:v|[vV]er\.|V(?=\d+\.))\s?(\d{1,6}(?:\.\d{1,6}){0,5})(?![\w.]?\d)(?!\w)", _version),
    Rule(rf"({_SOFTWARE})([\s-])(\d{{1,6}}(?:\.\d{{1,6}}){{1,5}})(?![\w.]?\d)(?!\w)", _software),
)
