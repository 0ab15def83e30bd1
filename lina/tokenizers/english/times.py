"""Times of day, spans of time, durations, and time stamps."""

import re

from lina.tokenizers.english.numbers import cardinal, number
from lina.tokenizers.english.rule import Rule, Style, following, spell

AM_PM = r"\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.?|[Mm](?:\b|(?=\.)))(?![\w])"
_CLOCK = r"\d{1,2}:\d\d"
_HALF = r"\s?[AaPp]\.?\s?[Mm]\b\.?"
_UNITS = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_AMOUNT = re.compile(r"(\d+)\s?([dhms])")


def clock(hour: int, minute: int, whole: str = "") -> str | None:
    """``ten``, ``ten oh five``, ``ten fifteen``; ``whole`` follows a full hour."""
    if hour > 24 or minute > 59:
        return None
    if not minute:
        return cardinal(hour) + whole
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"


def _time(match: re.Match[str], style: Style) -> str | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    bare = not match["second"] and not match["half"]
    words = clock(hour, minute, (" hundred" if hour > 12 or hour == 0 else " o'clock") if bare else "")
    if words is None:
        return None
    if match["second"]:
        seconds = int(match["second"])
        words += f" and {cardinal(seconds)} second{'' if seconds == 1 else 's'}"
    return words + _half(match, style)


def _half(match: re.Match[str], style: Style) -> str:
    if not match["half"]:
        return ""
    stop = "." if match.string[match.end() - 1] == "." and not following(match).strip() else ""
    return f" {spell(match['half'] + 'm', style)}{stop}"


def _hour(match: re.Match[str], style: Style) -> str | None:
    return f"{cardinal(int(match['hour']))}{_half(match, style)}" if int(match["hour"]) <= 24 else None


def _span(match: re.Match[str], style: Style) -> str | None:
    """``7:30-8:15 p.m.``; one of both is written as a time, or a half of the day follows."""
    ends = []
    for side in ("from", "to"):
        hour, _, minute = match[side].partition(":")
        whole = " hundred" if minute and (int(hour) > 12 or int(hour) == 0) else ""
        words = clock(int(hour), int(minute or 0), whole)
        if words is None:
            return None
        ends.append(words)
    first = f" {spell(match['first'], style)}" if match["first"] else ""
    return f"{ends[0]}{first} to {ends[1]}{_half(match, style)}"


def _duration(match: re.Match[str], style: Style) -> str:
    """``2h 30m``: hours with minutes."""
    return " ".join(
        f"{number(amount)} {_UNITS[unit]}{'' if int(amount) == 1 else 's'}"
        for amount, unit in _AMOUNT.findall(match[0])
    )


def _stamp(match: re.Match[str], style: Style) -> str | None:
    """The time after the date of ``2024-03-15T10:30:00Z``."""
    words = clock(int(match["hour"]), int(match["minute"]))
    if words is None:
        return None
    seconds = int(match["second"] or 0)
    return f" {words}" + (f" and {cardinal(seconds)} second{'' if seconds == 1 else 's'}" if seconds else "")


RULES: tuple[Rule, ...] = (
    Rule(
        r"(?<=\d-\d\d-\d\d)T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?(?:Z\b)?",
        _stamp,
    ),
    Rule(
        rf"(?P<from>{_CLOCK}|\d{{1,2}}(?=\s?[-–—]\s?{_CLOCK}|\s?[AaPp]\.?\s?[Mm]\b|\s?[-–—]\s?\d{{1,2}}{_HALF}))"
        rf"(?:\s?(?P<first>[AaPp]\.?\s?[Mm]\b)\.?)?\s?[-–—]\s?(?P<to>\d{{1,2}}(?::\d\d)?)(?![\d:.]\d|:|\d)(?:{AM_PM})?",
        _span,
    ),
    Rule(
        rf"(?P<hour>\d{{1,2}})(?::(?P<minute>\d\d))(?::(?P<second>\d\d))?(?![\d:]|,\d{{3}}(?!\d))(?:{AM_PM})?",
        _time,
    ),
    Rule(rf"(?P<hour>\d{{1,2}})\.(?P<minute>[0-5]\d)(?P<second>)?{AM_PM}", _time),
    Rule(rf"(?P<hour>\d{{1,2}}){AM_PM}", _hour),
    Rule(
        r"(?:\d+\s?d\s)?\d+\s?h\s?\d{1,2}\s?m(?:\s?\d{1,2}\s?s)?\b|\d+\s?d\s\d{1,2}\s?h\b|\d+\s?m\s?\d{1,2}\s?s\b",
        _duration,
    ),
)
