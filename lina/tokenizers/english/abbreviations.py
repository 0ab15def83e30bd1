"""Abbreviations: titles, streets, months, Latin, and those before a number."""

import re

from lina.tokenizers.english.rule import (
    NEAR,
    Rule,
    Style,
    before,
    ends_sentence,
    following,
    one_of,
    spell,
)

_TITLES = {
    "Mr": "Mister", "Mrs": "Missus", "Ms": "Miz", "Mx": "Mix", "Prof": "Professor", "Gen": "General", "Gov": "Governor",
    "Sen": "Senator", "Rep": "Representative", "Capt": "Captain", "Lt": "Lieutenant", "Col": "Colonel",
    "Sgt": "Sergeant", "Cmdr": "Commander", "Rev": "Reverend", "Hon": "Honorable", "Pres": "President",
    "Supt": "Superintendent", "Cpl": "Corporal", "Maj": "Major", "Adm": "Admiral", "Msgr": "Monsignor",
    "Messrs": "Messers", "Mt": "Mount", "Ft": "Fort",
}  # fmt: skip
_STREETS = {
    "Ave": "Avenue", "Blvd": "Boulevard", "Rd": "Road", "Ln": "Lane", "Hwy": "Highway", "Pkwy": "Parkway",
    "Sq": "Square", "Ct": "Court", "Pl": "Place", "Apt": "Apartment", "Ste": "Suite", "Bldg": "Building",
}  # fmt: skip
_WORDS = {
    "etc": "et cetera", "e.g": "for example", "i.e": "that is", "approx": "approximately", "a.k.a": "also known as",
    "Approx": "Approximately",
    "vs": "versus", "cf": "compare", "viz": "namely", "et al": "et al", "dept": "department", "govt": "government",
    "Jr": "Junior", "Sr": "Senior", "Ltd": "Limited", "Inc": "Incorporated", "Corp": "Corporation", "Co": "Company",
    "Bros": "Brothers", "Dept": "Department", "Univ": "University", "Assn": "Association", "Govt": "Government",
    "Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "Jun": "June", "Jul": "July",
    "Aug": "August", "Sept": "September", "Sep": "September", "Oct": "October", "Nov": "November",
    "Dec": "December", "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday", "Esq": "Esquire", "misc": "miscellaneous",
    "est": "established", "ave": "avenue", "tel": "telephone", "Tel": "telephone", "ext": "extension",
    "Ext": "extension", "min": "minimum", "max": "maximum", "temp": "temperature", "Atty": "Attorney",
}  # fmt: skip
_BARE = {
    "vs": "versus",
    "aka": "also known as",
    "w/o": "without",
    "w/": "with",
    "c/o": "care of",
    "b/c": "because",
    "Ctrl": "Control",
    "Cmd": "Command",
    "Jr": "Junior",
    "Sr": "Senior",
}
_BARE_STREETS = {short: _STREETS[short] for short in ("Ave", "Blvd", "Rd", "Ln", "Hwy", "Pkwy")} | {
    "St": "Street"
}
_BEFORE_NUMBER = {
    "No": "number", "no": "number", "Nos": "numbers", "nos": "numbers", "Fig": "figure", "fig": "figure",
    "Figs": "figures", "figs": "figures", "Vol": "volume", "vol": "volume", "Ch": "chapter", "ch": "chapter",
    "p": "page", "pp": "pages", "Sec": "section", "sec": "section", "Eq": "equation", "eq": "equation",
    "Art": "article", "ca": "circa", "c": "circa", "ed": "edition", "pt": "part", "Pt": "part", "№": "number",
    "Nr": "number", "nr": "number", "Eqs": "equations", "eqs": "equations", "Vols": "volumes", "vols": "volumes",
    "Chs": "chapters", "chs": "chapters", "Paras": "paragraphs", "paras": "paragraphs",
    "Para": "paragraph", "para": "paragraph", "Lat": "latitude", "lat": "latitude",
}  # fmt: skip
_NEVER_SENTENCE_END = frozenset(("e.g", "i.e", "vs", "cf", "viz", "approx", "Approx", "a.k.a"))
_NUMBERED_STREET = re.compile(r"\d+(?:st|nd|rd|th)")
_CAPITAL = r"(?=\s+[\"“'‘]?[A-Z])"


def _title(match: re.Match[str], style: Style) -> str:
    return _TITLES[match[1]]


def _in_street(match: re.Match[str]) -> bool:
    """Test if ``St.`` or ``Dr.`` follows a name (a street) instead of preceding one."""
    word = before(match)
    named = (word[:1].isupper() and word[-1:].isalnum()) or bool(_NUMBERED_STREET.fullmatch(word))
    followed = re.match(r"\s+[\"“'‘]?[A-Z]", following(match))
    first = match.start() <= NEAR and match.string[: match.start()].strip() == word
    return named and not (followed and first)


def _saint(match: re.Match[str], style: Style) -> str:
    return ("Street" if _in_street(match) else "Saint") + _stop(match)


def _doctor(match: re.Match[str], style: Style) -> str:
    return ("Drive" if _in_street(match) else "Doctor") + _stop(match)


def _stop(match: re.Match[str]) -> str:
    """The stop of an abbreviation that also ends the sentence."""
    return "." if match[0].endswith(".") and ends_sentence(match) else ""


def _word(match: re.Match[str], style: Style) -> str | None:
    return (_WORDS | _STREETS)[match[1]] + ("" if match[1] in _NEVER_SENTENCE_END else _stop(match))


def _bare(match: re.Match[str], style: Style) -> str:
    return _BARE[match[1]]


def _slashed(match: re.Match[str], style: Style) -> str:
    return spell(match[0], style)


def _bare_street(match: re.Match[str], style: Style) -> str | None:
    """After a name in capitals or an ordinal a street needs no stop: ``12 Elm Blvd``, ``42nd St``."""
    word = before(match)
    named = word[:1].isupper() and word.isalpha()
    return _BARE_STREETS[match[1]] if named or _NUMBERED_STREET.fullmatch(word) else None


def _doctorate(match: re.Match[str], style: Style) -> str:
    return spell("PHD", style) + _stop(match)


def _company(match: re.Match[str], style: Style) -> str:
    """``AT&T``: the letters on both sides are spelled."""
    return f"{spell(match[1], style)} and {spell(match[2], style)}"


def _before_number(match: re.Match[str], style: Style) -> str:
    word = _BEFORE_NUMBER[match[1]]
    return word.capitalize() if match[1][0].isupper() else word


def _initials(match: re.Match[str], style: Style) -> str:
    """``U.S.``, ``J. R. R.`` before a name, ``p.m.`` alone: letters."""
    return spell(match[0], style) + _stop(match)


def _initial(match: re.Match[str], style: Style) -> str:
    return match[1]


_SOUNDS = frozenset((
    "hm", "hmm", "mm", "mmm", "sh", "shh", "shhh", "pst", "psst", "brr", "brrr", "pfft", "tsk", "nth", "zzz",
    "zzzz", "grr", "grrr", "st", "nd", "rd", "th", "ft", "vs",
))  # fmt: skip
_CHAT = {"pls": "please", "plz": "please", "thx": "thanks", "ppl": "people", "msg": "message", "pwd": "P W D"}


def _without_vowels(match: re.Match[str], style: Style) -> str | None:
    """``ls``, ``npm``, ``btw``."""
    if match[0] in _SOUNDS:
        return None
    return _CHAT.get(match[0]) or spell(match[0], style)


RULES: tuple[Rule, ...] = (
    Rule(rf"({one_of(_TITLES)})\b\.?{_CAPITAL}", _title),
    Rule(r"St\.(?!\w)", _saint),
    Rule(r"Dr\.?(?!\w)", _doctor),
    Rule(rf"({one_of(_BEFORE_NUMBER)})\.\s?(?=\(?\d)", _before_number),
    Rule(r"(№)\s?(?=\d)", _before_number),
    Rule(rf"({one_of([*_WORDS, *_STREETS])})\.(?!\w)", _word),
    Rule(rf"(?<=[a-z\d] )({one_of(_BARE_STREETS)})(?=[,;]|\s*$|\s[a-z])", _bare_street),
    Rule(r"(?:n/a|N/A|i/o|I/O|A/C|a/c|TCP/IP|A/B)(?!\w)", _slashed),
    Rule(r"Ph\.\s?D\.?(?!\w)", _doctorate),
    Rule(r"([A-Z]{1,3})&([A-Z]{1,3})(?![A-Za-z])", _company),
    Rule(rf"({one_of(_BARE)})(?!\w)", _bare),
    Rule(r"(?:[A-Za-z]\.){2,12}(?:[A-Za-z]\b)?", _initials),
    Rule(r"([A-Z])\.(?=\s*[A-Z])", _initial),
    Rule(r"[bcdfghj-np-tv-xz]{2,4}(?![\w'’.-]\w|[\w'’])", _without_vowels),
)
