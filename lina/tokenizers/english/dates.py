"""Dates, years, decades and centuries."""

import re

from lina.tokenizers.english.numbers import cardinal, ordinal, plural_of, year
from lina.tokenizers.english.rule import Rule, Style, before, ends_sentence, one_of, spell

MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
]  # fmt: skip
_MONTH_OF = {name[:3].lower(): name for name in MONTHS}
_SHORT_MONTHS = ["Sept", *(name[:3] for name in MONTHS if len(name) > 3)]
_MONTH = rf"(?:{one_of(MONTHS)}|(?:{one_of(_SHORT_MONTHS)})\b\.?)"
_WEEKDAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Weds": "Wednesday", "Thu": "Thursday",
    "Thur": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_WEEKDAY = rf"(?:{one_of(_WEEKDAYS)})\b"
_BEFORE_DATES = frozenset(("on", "until", "till", "since", "dated", "due")) | {
    day.lower() for day in (*_WEEKDAYS, *_WEEKDAYS.values())
}
_AND = r"(?:,?\s(?:and|or)\s|,\s?|\s?[/&]\s?)"
_DAY = r"(?:3[01]|[12]\d|0?[1-9])"
_ORDINAL_END = r"(?:st|nd|rd|th)?"
_YEAR = r"[12]\d{3}"
_NUMBER_AFTER = r"(?![\d%$€£]|[.,:/]\d)"


def _month(text: str) -> str:
    return _MONTH_OF[text[:3].lower()]


def _full_year(text: str) -> str:
    if len(text) == 2:
        text = ("19" if int(text) > 30 else "20") + text
    return year(int(text))


def _date(day: int, month: int, text: str | None, style: Style) -> str | None:
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    name = MONTHS[month - 1]
    words = f"the {ordinal(day)} of {name}" if style.day_first else f"{name} {ordinal(day)}"
    return f"{words}, {_full_year(text)}" if text else words


def _iso(match: re.Match[str], style: Style) -> str | None:
    return _date(int(match[4]), int(match[3]), match[1], style)


def _slashes(match: re.Match[str], style: Style) -> str | None:
    first, second = int(match[1]), int(match[3])
    day_first = style.day_first or match[2] == "." or first > 12
    day, month = (first, second) if day_first and second <= 12 else (second, first)
    return _date(day, month, match[4], style)


def _short_date(match: re.Match[str], style: Style) -> str | None:
    """``on 12/25``; elsewhere the same signs are a fraction."""
    if before(match).lower().strip("(,.") not in _BEFORE_DATES:
        return None
    first, second = int(match[1]), int(match[2])
    day_first = style.day_first or first > 12
    return _date(*((first, second) if day_first and second <= 12 else (second, first)), None, style)


def _month_day(match: re.Match[str], style: Style) -> str:
    words = f"{_month(match['month'])} {ordinal(int(match['day']))}"
    if match["to"]:
        words += f" to {ordinal(int(match['to']))}"
    return words + (f", {year(int(match['year']))}" if match["year"] else "")


def _day_month(match: re.Match[str], style: Style) -> str:
    the = "" if before(match).lower() == "the" else "the "
    words = f"{the}{ordinal(int(match['day']))} of {_month(match['month'])}"
    if match["year"]:
        return f"{words}, {year(int(match['year']))}"
    return words + ("." if match[0].endswith(".") and ends_sentence(match) else "")


def _month_year(match: re.Match[str], style: Style) -> str:
    return f"{_month(match[1])} {year(int(match[2]))}"


def _span_of_days(match: re.Match[str], style: Style) -> str:
    return f"{_WEEKDAYS[match[1]]} to {_WEEKDAYS[match[2]]}"


def _span_of_months(match: re.Match[str], style: Style) -> str:
    return f"{_month(match[1])} to {_month(match[2])}"


def _weekdays(match: re.Match[str], style: Style) -> str:
    """``Sat & Sun``, ``Mon, Jan 5``."""
    return (
        re.sub(rf"({_WEEKDAY})\.?", lambda day: _WEEKDAYS[day[1]], match[0])
        .replace("&", "and")
        .replace("/", ", ")
    )


def _month_short_year(match: re.Match[str], style: Style) -> str:
    return f"{_month(match[1])} {cardinal(int(match[2]))}"


def _century(match: re.Match[str], style: Style) -> str:
    """``21st c.``; its stop is also that of the sentence where nothing follows."""
    return f"{ordinal(int(match[1]))} century" + ("." if ends_sentence(match) else "")


def _from_then(match: re.Match[str], style: Style) -> str:
    """``mid-1980s``: the hyphen is no minus."""
    return f"{match[1]} "


def _many(match: re.Match[str], style: Style) -> str:
    """``100s of people``."""
    return plural_of(cardinal(int(match[1])).removeprefix("one "))


def _decade(match: re.Match[str], style: Style) -> str:
    if match[1] == "00":
        return "two thousands"
    return plural_of(year(int(match[1])) if len(match[1]) == 4 else cardinal(int(match[1])))


def _short_year(match: re.Match[str], style: Style) -> str:
    """``'09``."""
    return f"oh {cardinal(int(match[1]))}"


def _era(match: re.Match[str], style: Style) -> str:
    number = int(match[1])
    return f"{year(number)} {spell(match[2], style)}"


def _year(match: re.Match[str], style: Style) -> str:
    return year(int(match[0]))


def _season(match: re.Match[str], style: Style) -> str | None:
    """``2019/20``: a year and the next one."""
    first, last = int(match[1]), match[2]
    if int(last) not in (first + 1, (first + 1) % 100):
        return None
    return f"{year(first)} {year(first + 1) if len(last) == 4 or last[0] == '0' else cardinal(int(last))}"


def _years(match: re.Match[str], style: Style) -> str:
    last = match[2]
    return f"{year(int(match[1]))} to {year(int(last)) if len(last) == 4 else cardinal(int(last))}"


RULES: tuple[Rule, ...] = (
    Rule(r"(\d{4})([-/.])(\d\d?)\2(\d\d?)(?![\d/-]|[.]\d)", _iso),
    Rule(
        rf"({one_of(_WEEKDAYS)})\b\.?\s?(?:[-–—]|to\b)\s?({one_of(_WEEKDAYS)})\b(?:\.(?!$))?", _span_of_days
    ),
    Rule(
        rf"({one_of(_SHORT_MONTHS)})\b\.?\s?[-–—]\s?({one_of(_SHORT_MONTHS)})\b(?:\.(?!$))?", _span_of_months
    ),
    Rule(
        rf"({_WEEKDAY})\.?(?:{_AND}(?:{_WEEKDAY}))+(?:\.(?!$))?|({_WEEKDAY})\.?(?=,?\s(?:\d|{_MONTH}))",
        _weekdays,
    ),
    Rule(rf"({_MONTH})\s?['’](\d\d)\b", _month_short_year),
    Rule(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?![\d/-]|[.]\d)", _slashes),
    Rule(r"(\d{1,2})/(\d{1,2})(?![\d/%]|[.,]\d|\s(?:of|inch|cup)\b)", _short_date),
    Rule(
        rf"(?P<month>{_MONTH})\s(?:the\s)?(?P<day>{_DAY}){_ORDINAL_END}\b(?:\s?[-–]\s?(?P<to>{_DAY})\b)?"
        rf"{_NUMBER_AFTER}(?:,?\s(?P<year>{_YEAR})\b{_NUMBER_AFTER})?",
        _month_day,
    ),
    Rule(
        rf"(?P<day>{_DAY}){_ORDINAL_END}\s(?:of\s)?(?P<month>{_MONTH})(?![a-z])(?:,?\s(?P<year>{_YEAR})\b{_NUMBER_AFTER})?",
        _day_month,
    ),
    Rule(rf"({_MONTH}),?\s({_YEAR})\b{_NUMBER_AFTER}", _month_year),
    Rule(r"(\d{1,2})(?:st|nd|rd|th)\s(?:[cC]|[Cc]ent)\.(?!\w)", _century),
    Rule(r"(10{2,6})s(?=\sof\b)", _many),
    Rule(r"([A-Za-z]?[a-z]{2,})-(?=\d)", _from_then),
    Rule(r"['’]0([1-9])(?![\w'’]|[.,:]\d)", _short_year),
    Rule(r"['’]?(\d0|[12]\d\d0)['’]?s\b", _decade),
    Rule(r"(\d{1,4})\s?(BCE|BC|AD|CE)\b", _era),
    Rule(r"(1[1-9]\d\d|20\d\d)\s?[-–]\s?((?:1[1-9]|20)\d\d|\d\d)(?![\w-]|[.,]\d)", _years),
    Rule(r"(1[1-9]\d\d|20\d\d)/(\d{4}|\d\d)(?![\w/-]|[.,]\d)", _season),
    Rule(r"(?:1[1-9]\d\d|20\d\d|10[1-9]\d)(?![\w%]|[.,]\d|[-–/]\d)", _year),
)
