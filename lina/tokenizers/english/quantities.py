"""Bare numbers: telephones, fractions, ratios, ranges, ordinals, decimals, and letters with digits."""

import re

from lina.tokenizers.english.amounts import NUMBER
from lina.tokenizers.english.numbers import cardinal, digits, number, ordinal, ordinal_of, pairs
from lina.tokenizers.english.rule import Rule, Style, always, following, one_of, spell
from lina.tokenizers.english.units import UNITS

_PARTS = {2: "half", 4: "quarter"}
_SIGNS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
_POWERS = {"²": "squared", "³": "cubed"}
_ORDINAL_END = r"(?<=\dst)|(?<=\dnd)|(?<=\drd)|(?<=\dth)"
_UNIT = rf"(?:\s?({one_of(UNITS)})(?![\w²³/'’-]|[.]\w)(?:\.(?=\s[a-z]))?)?"


def _telephone(match: re.Match[str], style: Style) -> str:
    groups = re.findall(r"\d+", match[0])
    words = ", ".join(map(digits, groups))
    return f"plus {words}" if match[0][0] == "+" else words


def _groups(match: re.Match[str], style: Style) -> str:
    return ", ".join(map(digits, re.findall(r"\d+", match[0])))


def _triple(match: re.Match[str], style: Style) -> str:
    """``36-24-36``, and ``12-345-678`` digit by digit."""
    groups = match[0].split("-")
    return ", ".join(map(number if max(map(len, groups)) < 3 else digits, groups))


def _verses(match: re.Match[str], style: Style) -> str:
    """``23:1-6``."""
    return f"{number(match[1])} {number(match[2])} to {number(match[3])}"


def _parts(above: int, below: int) -> str:
    unit = _PARTS.get(below) or ordinal(below)
    if above != 1:
        unit = "halves" if below == 2 else f"{unit}s"
    return f"{cardinal(above)} {unit}"


def _after(whole: str | None, above: int, words: str) -> str:
    """A fraction after a whole number, if there is one: ``two and a half``."""
    if not whole:
        return words
    return f"{cardinal(int(whole))} and {f'a{words[3:]}' if above == 1 else words}"


def _fraction(match: re.Match[str], style: Style) -> str | None:
    whole, above, below = match[1], int(match[2]), int(match[3])
    shares = above + below == 100 or above == below == 20
    if ((above, below) in ((24, 7), (9, 11)) or shares) and not whole:
        return f"{cardinal(above)} {cardinal(below)}" if below != 11 else "nine eleven"
    if below < 2 or above == 0 or (above >= below and whole):
        return None
    words = _parts(above, below) if above < below <= 100 else f"{cardinal(above)} over {cardinal(below)}"
    return _after(whole, above, words) + (" inch" if match[4] else _of_unit(match[5], whole, above / below))


def _of_unit(sign: str | None, whole: str | None, part: float) -> str:
    """``one half teaspoon``, ``three quarters of a pound``, ``two and a half miles``."""
    if not sign:
        return ""
    one, many = UNITS[sign]
    if whole or part > 1:
        return f" {many}"
    return f" {one}" if part == 0.5 else f" of {'an' if one in ('hour', 'ounce') else 'a'} {one}"


def _meter(match: re.Match[str], style: Style) -> str:
    return f"{cardinal(int(match[1]))} {cardinal(int(match[2]))}"


def _fraction_sign(match: re.Match[str], style: Style) -> str:
    above, below = _SIGNS[match[2]]
    return _after(match[1], above, _parts(above, below)) + _of_unit(match[3], match[1], above / below)


def _dotted(match: re.Match[str], style: Style) -> str:
    """A version or an address: ``3.11.2``, ``192.168.0.1``."""
    parts = match[0].split(".")
    return (" dot " if len(parts) > 3 else " point ").join(map(number, parts))


def _scientific(match: re.Match[str], style: Style) -> str:
    power = int(match[3])
    sign = "minus " if match[2] in ("-", "−") else ""
    return f"{number(match[1])} times ten to the {sign}{cardinal(power)}"


def _power(match: re.Match[str], style: Style) -> str:
    return f"{number(match[1])} {_POWERS[match[2]]}"


def _range(match: re.Match[str], style: Style) -> str:
    if match[1] == match[2] == "50":
        return "fifty fifty"
    if "-" in match[0] and _value(match[1]) > _value(match[2]) >= 100:
        return f"{number(match[1])} {number(match[2])}"  # a name: a 747-400
    return f"{number(match[1])} to {number(match[2])}"


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def _ordinal(match: re.Match[str], style: Style) -> str:
    return ordinal_of(number(match[1]))


def _times(match: re.Match[str], style: Style) -> str:
    return f"{number(match[1])} by {number(match[2])}"


def _product(match: re.Match[str], style: Style) -> str:
    return f"{number(match[1])} times {number(match[2])}"


_PLURAL = re.compile(r"\s(?:[a-z]+s|people|more|in|of|and|or|a|per)\b")
_NAME = re.compile(r"\s[A-Z][a-z]")
_PICTURE = re.compile(
    r"\s(?:ultra|TVs?|UHD|HDR|videos?|displays?|monitors?|screens?|resolution|cameras?|footage|films?|movies?|content|stream|"
    r"Blu|runs?|races?|runners?|track)"
)


def _magnitude(match: re.Match[str], style: Style) -> str:
    """``50K users``, ``4B people``; but ``4K video``, ``a 10K run``, ``apartment 4B`` have letters."""
    amount, sign = match[1], match[2]
    after = following(match)
    if sign in "kK" and amount.isdecimal() and (len(amount) > 3 or amount == "401"):
        return f"{pairs(amount)} K"
    if sign in "kK" and (_PICTURE.match(after) or (sign == "K" and amount in ("4", "8"))):
        return f"{number(amount)} K"
    if sign == "B" and amount.isdecimal() and _NAME.match(after):
        return f"{pairs(amount)} B"  # a house: 221B Baker Street
    if sign == "B" and amount.isdecimal() and not (_PLURAL.match(after) or len(amount) > 2):
        return f"{number(amount)} B"
    return f"{number(amount)} {'thousand' if sign in 'kK' else 'million' if sign == 'M' else 'billion'}"


def _signed(match: re.Match[str], style: Style) -> str | None:
    if match[1] in ("-", "−") and match.start() and match.string[match.start() - 1].isalnum():
        return None
    sign = {"-": "minus ", "−": "minus ", "+": "plus ", "±": "plus or minus "}.get(match[1], "")
    return sign + number(match[2])


def _mixed(match: re.Match[str], style: Style) -> str | None:
    """``MP3``, ``5G``, ``B2B``, ``COVID-19``, ``R2-D2``: letters spelled where they are capitals or single."""
    words = []
    for part in re.findall(r"\d+|[^\W\d_]+", match[0]):
        if part.isdecimal():
            words.append(pairs(part))
        elif len(part) == 1 or (part.isupper() and (len(part) < 4 or not re.search("[AEIOU]", part))):
            words.append(spell(part, style))
        else:
            words.append(part)
    return " ".join(words)


RULES: tuple[Rule, ...] = (
    Rule(r"\+\d{1,3}(?:[\s.-]?\(?\d{2,5}\)?){2,5}(?!\w)", _telephone),
    Rule(r"(?:1[\s.-])?\(?\d{3}\)?[\s.-]\d{3}[.\s-]\d{4}(?![\w-])", _telephone),
    Rule(r"\(?0\d{2,4}\)?[\s-]\d{3,4}[\s-]\d{3,4}(?![\w-])", _telephone),
    Rule(r"\d{3}-\d{4}(?![\w-])", _telephone),
    Rule(r"\d{4}([\s-])\d{4}\1\d{4}\1\d{4}(?!\w)", _groups),
    Rule(r"\d{3}-\d{2}-\d{4}(?![\w-])", _groups),
    Rule(r"\d{1,4}-\d{1,4}-\d{1,4}(?![\w-]|[.,]\d)", _triple),
    Rule(r"(\d{1,3}):(\d{1,3})\s?[-–]\s?(\d{1,3})(?![\d:]|[.]\d)", _verses),
    Rule(r"(\d)/(\d)(?= (?:time|meter|signature)\b)", _meter),
    Rule(
        rf"(?:(\d{{1,3}})[\s-])?(\d{{1,3}})[/⁄](\d{{1,3}})([\"″](?=\s\w))?(?![\w/]|[.]\d){_UNIT}",
        _fraction,
    ),
    Rule(rf"(\d{{1,3}})?\s?([{''.join(_SIGNS)}]){_UNIT}", _fraction_sign),
    Rule(r"(\d+(?:\.\d+)?)[eE]([-−+]?)(\d{1,3})(?!\w)", _scientific),
    Rule(r"(\d+(?:\.\d+)?)\s?[×x]\s?10(?:\^|\*\*)([-−]?)(\d{1,3})(?!\w)", _scientific),
    Rule(r"\d{1,9}(?:\.\d{1,9}){2,9}(?!\w)", _dotted),
    Rule(rf"({NUMBER})([²³])", _power),
    Rule(r"(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal),
    Rule(rf"({NUMBER})\s?[x×]\s?({NUMBER})(?=\s?=)", _product),
    Rule(rf"({NUMBER})\s?[x×]\s?({NUMBER})(?!\w)", _times),
    Rule(r"(?<=[Dd]ial |[Cc]all )(?:911|999|112)(?!\w|[.,-]\d)", _groups),
    Rule(rf"({NUMBER})(k|K|M|bn|B)\b", _magnitude),
    Rule(
        rf"(?:(?<=°[CFK])|(?<=\d%)|(?<=[Nn]oon)|(?<=midnight)|{_ORDINAL_END})\s?[–-]\s?(?=\d)", always(" to ")
    ),
    Rule(rf"(?:{_ORDINAL_END})\s?/\s?(?=\d)", always(" or ")),
    Rule(r"(\d{1,3}):(\d{1,3}(?:,\d{3})+|\d{1,7})(?![\d:]|[.,]\d)", _range),
    Rule(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]+(?:-(?:\d{1,9}|[A-Z]\d[A-Z\d]{0,9})){0,5}\b", _mixed),
    Rule(r"[A-Z][A-Za-z]*(?:-\d+)\b(?![.,]\d)", _mixed),
    Rule(rf"({NUMBER})\s?[-–]\s?({NUMBER})(?![\w-]|[.,]\d)", _range),
    Rule(rf"([-−+±]?)\s?({NUMBER}|\d[\d,]*)", _signed),
)
