"""Amounts of something: money, percent, degrees and units of measure."""

import re

from lina.tokenizers.english.numbers import is_one, number
from lina.tokenizers.english.rule import Rule, Style, before, following, one_of
from lina.tokenizers.english.units import UNITS

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_MINUS = r"(?P<minus>[-−])?"
_MAGNITUDES = {
    "k": "thousand",
    "m": "million",
    "mn": "million",
    "b": "billion",
    "bn": "billion",
    "t": "trillion",
}
_BIG = r"(?:\s?(?P<big>hundred|thousand|million|billion|trillion)\b|(?P<short>[kKmMbBtT]|bn|mn)\b)?"

_DIRECTIONS = {"N": " north", "S": " south", "E": " east", "W": " west"}
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopek", "kopeks"),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "CN¥": ("yuan", "yuan", "fen", "fen"),
    "CHF": ("Swiss franc", "Swiss francs", "rappen", "rappen"),
    "SEK": ("Swedish krona", "Swedish kronor", "öre", "öre"),
    "NOK": ("Norwegian krone", "Norwegian kroner", "øre", "øre"),
    "DKK": ("Danish krone", "Danish kroner", "øre", "øre"),
    "zł": ("zloty", "zlotys", "grosz", "groszy"),
    "CZK": ("Czech koruna", "Czech korunas", "haler", "halers"),
    "HUF": ("Hungarian forint", "Hungarian forints", "", ""),
    "MX$": ("Mexican peso", "Mexican pesos", "centavo", "centavos"),
    "R$": ("Brazilian real", "Brazilian reals", "centavo", "centavos"),
    "ZAR": ("rand", "rand", "cent", "cents"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₴": ("hryvnia", "hryvnias", "kopek", "kopeks"),
    "₦": ("naira", "naira", "kobo", "kobo"),
    "₱": ("peso", "pesos", "centavo", "centavos"),
    "₪": ("shekel", "shekels", "agora", "agorot"),
    "฿": ("baht", "baht", "satang", "satang"),
    "₫": ("dong", "dong", "", ""),
}
_CODES = {
    "USD": "$",
    "EUR": "€",
    "GBP": "£",
    "JPY": "¥",
    "INR": "₹",
    "US$": "$",
    "CNY": "CN¥",
    "RMB": "CN¥",
    "CHF": "CHF",
    "CAD": "C$",
    "AUD": "A$",
    "NZD": "NZ$",
    "HKD": "HK$",
    "SEK": "SEK",
    "NOK": "NOK",
    "DKK": "DKK",
    "PLN": "zł",
    "CZK": "CZK",
    "HUF": "HUF",
    "MXN": "MX$",
    "BRL": "R$",
    "ZAR": "ZAR",
    "TRY": "₺",
    "KRW": "₩",
    "RUB": "₽",
    "Rs.": "₹",
    "Rs": "₹",
}
_COUNTRIES = {
    "US$": "US ",
    "C$": "Canadian ",
    "CA$": "Canadian ",
    "A$": "Australian ",
    "AU$": "Australian ",
    "HK$": "Hong Kong ",
    "NZ$": "New Zealand ",
    "S$": "Singapore ",
}
_SIGN = f"(?P<sign>{one_of([*_COUNTRIES, *CURRENCIES])}|(?:{one_of(_CODES)})(?!\\w))"


def _minus(match: re.Match[str]) -> str:
    return {"": "", "+": "plus "}.get(match["minus"] or "", "minus ")


def _money(match: re.Match[str], style: Style) -> str:
    sign = match["sign"]
    country = _COUNTRIES.get(_CODES.get(sign, sign), "") if sign != "US$" else "U S "
    key = _CODES.get(sign, sign)
    one, many, cent, cents = CURRENCIES[key if key in CURRENCIES else key[-1]]
    big = match["big"] or _MAGNITUDES.get((match["short"] or "").lower(), "")
    amount = match["amount"]
    last = match.groupdict().get("last")
    if not last and _counts_a_noun(match):
        many = one
    if big or last:
        first = _MAGNITUDES.get((match.groupdict().get("first") or "").lower(), "")
        words = (
            f"{number(amount)} {first and f'{first} {country}{many} '}to {number(last)}"
            if last
            else number(amount)
        )
        return f"{_minus(match)}{words} {big + ' ' if big else ''}{country}{many}" + _per(match)
    whole, _, rest = amount.replace(",", "").partition(".")
    if len(rest) != 2 or not cent:
        return f"{_minus(match)}{number(amount)} {country}{one if is_one(amount) else many}" + _per(match)
    parts = []
    if int(whole or 0) or not int(rest):
        parts.append(f"{number(whole or '0')} {country}{one if whole == '1' else many}")
    if int(rest):
        parts.append(f"{number(str(int(rest)))} {cent if int(rest) == 1 else cents}")
    return _minus(match) + " and ".join(parts) + _per(match)


def _per(match: re.Match[str]) -> str:
    per = match.groupdict().get("per")
    if not per:
        return ""
    one = UNITS[per][0] if per in UNITS else _PER_NAMES.get(per, per)
    if not match["per_squared"]:
        return f" per {one}"
    return f" per {one} squared" if one == "second" else f" per square {one}"


def _cents(match: re.Match[str], style: Style) -> str:
    return f"{number(match['amount'])} cent{'' if is_one(match['amount']) else 's'}{_per(match)}"


def _to(match: re.Match[str]) -> str:
    return f" to {number(match['last'])}" if match["last"] else ""


def _percent(match: re.Match[str], style: Style) -> str:
    to = _to(match)
    sign = "per mille" if match["sign"] == "‰" else "percent"
    return f"{_minus(match)}{number(match['amount'])}{to} {sign}"


def _degrees(match: re.Match[str], style: Style) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get(match["scale"] or "", "")
    direction = _DIRECTIONS.get(match["direction"] or "", "")
    to = _to(match)
    single = is_one(match["amount"]) and not to
    return f"{_minus(match)}{number(match['amount'])}{to} degree{'' if single else 's'}{scale}{direction}"


def _position(match: re.Match[str], style: Style) -> str:
    """``40°42'46" N``."""
    parts = [
        f"{number(text)} {name}{'' if text == '1' else 's'}"
        for text, name in zip(match.groups()[:3], ("degree", "minute", "second"), strict=True)
        if text
    ]
    return " ".join(parts) + _DIRECTIONS.get(match[4] or "", "")


def _unit(match: re.Match[str], style: Style) -> str:
    one, many = UNITS[match["unit"]]
    amount = match["amount"]
    to = _to(match)
    power = {"s": "square ", "S": "square ", "c": "cubic ", "C": "cubic "}.get(
        (match["area"] or "")[:1], ""
    ) or {"²": "square ", "2": "square ", "³": "cubic ", "3": "cubic "}.get(match["power"] or "", "")
    single = match["tied"] or (is_one(amount) and not to) or _counts_a_noun(match)
    return f"{_minus(match)}{number(amount)}{to} {power}{one if single else many}{_per(match)}"


def _feet(match: re.Match[str], style: Style) -> str:
    return f"{number(match[1])} foot {number(match[2])}"


def _feet_and_inches(match: re.Match[str], style: Style) -> str:
    feet, inches = ("foot" if match[1] == "1" else "feet"), ("inch" if match[2] == "1" else "inches")
    return f"{number(match[1])} {feet} {number(match[2])} {inches}"


def _inches_by(match: re.Match[str], style: Style) -> str:
    """``8.5" x 11" paper``."""
    unit = "inch" if re.match(r"\s[a-z]", following(match)) else "inches"
    return f"{number(match[1])}{f' {unit}' if match[2] else ''} by {number(match[3])} {unit}"


_OPENING = re.compile(r"(?<!\d)\"")
"""A quotation mark, not an inch sign."""


def _inches(match: re.Match[str], style: Style) -> str | None:
    """A mark after a number means inches, unless it closes a quotation."""
    so_far = match.string[max(0, match.start() - 200) : match.start()]
    if "″" not in match[0] and (len(_OPENING.findall(so_far)) % 2 or so_far.count("“") > so_far.count("”")):
        return None
    single = is_one(match["amount"]) or _counts_a_noun(match)
    return f"{number(match['amount'])} {'inch' if single else 'inches'}"


def _feet_alone(match: re.Match[str], style: Style) -> str:
    return (
        f"{number(match['amount'])} {'foot' if is_one(match['amount']) or _counts_a_noun(match) else 'feet'}"
    )


_ELECTRIC = re.compile(
    r"\d\s?(?:[VW]|kW|mA|Hz|Ω|Ah|VA)\b|\b(?:fuse|amp|charger|current|circuit|breaker|socket|battery|draws?|volt|watt)",
    re.ASCII,
)


def _amperes(match: re.Match[str], style: Style) -> str | None:
    """``2A`` among volts, watts and fuses."""
    near = (
        match.string[max(0, match.start() - 60) : match.start()]
        + match.string[match.end() : match.end() + 60]
    )
    if not _ELECTRIC.search(near):
        return None
    single = is_one(match["amount"]) or _counts_a_noun(match)
    return f"{number(match['amount'])} {'amp' if single else 'amps'}"


def _counts_a_noun(match: re.Match[str]) -> bool:
    """``a 60W bulb``: an attribute is in the singular."""
    return before(match).lower() in ("a", "an") and bool(re.match(r"\s[A-Za-z]", following(match)))


_UNIT = one_of(UNITS)
_PER = rf"(?:/(?P<per>{_UNIT}|[a-z]+)(?P<per_squared>[²2])?(?!\w)(?:\.(?=[,;]|\s[a-z]))?)?"
_PER_NAMES = {"in": "inch", "mo": "month", "wk": "week", "sqft": "square foot"}
_A_PLACE = r"\s(?:the|an?|his|her|its|their|my|our|your|height|length|width|depth|all)\b"
"""Before these words ``in`` is no unit: ``5 ft 9 in height``."""
_LAST = rf"(?:\s?[-–]\s?(?P<last>{NUMBER}))?"

RULES: tuple[Rule, ...] = (
    Rule(
        rf"{_MINUS}{_SIGN}\s?(?P<amount>{NUMBER})(?:(?P<first>[kKmMbBtT]|bn|mn)?\s?[-–—]\s?(?P=sign)?(?P<last>{NUMBER}))?{_BIG}{_PER}",
        _money,
    ),
    Rule(rf"{_MINUS}(?P<amount>{NUMBER}){_BIG}\s?{_SIGN}(?!\s?\d){_PER}", _money),
    Rule(rf"(?P<amount>{NUMBER})\s?¢{_PER}", _cents),
    Rule(rf"{_MINUS}(?P<amount>{NUMBER}){_LAST}\s?(?P<sign>[%‰])", _percent),
    Rule(
        rf"(\d{{1,3}})\s?°\s?(\d{{1,2}})\s?['’′](?:\s?({NUMBER})\s?(?:[\"”″]|''))?(?:\s?([NSEW])(?!\w))?",
        _position,
    ),
    Rule(
        rf"(?P<minus>[-−+])?(?P<amount>{NUMBER}){_LAST}\s?(?:°|º|(?=℃|℉))(?:\s?(?:(?P<scale>[CFK]\b)|(?P<direction>[NSEW])(?![\w'’])))?",
        _degrees,
    ),
    Rule(r"(\d)['’′]\s?(\d{1,2})(?:[\"”″]|'')", _feet),
    Rule(rf"({NUMBER})\s?([\"”″]?)\s?[x×]\s?({NUMBER})\s?[\"”″](?!\w)", _inches_by),
    Rule(rf"(?P<amount>{NUMBER})(?:\s?″|[\"”]|'')(?!\w)", _inches),
    Rule(rf"(?P<amount>{NUMBER})\s?′(?!\w)", _feet_alone),
    Rule(rf"(?P<amount>{NUMBER})\s?A\b(?![.&]\w)", _amperes),
    Rule(rf"(\d{{1,2}})\s?ft\.?,?\s(\d{{1,2}})\s?in\b(?!{_A_PLACE})(?:\.(?=\s[a-z]))?", _feet_and_inches),
    Rule(
        rf"{_MINUS}(?P<amount>{NUMBER}){_LAST}(?:\s|(?P<tied>-(?=[a-z])))?(?P<area>(?:[Ss]q|[Cc]u)\.?\s)?(?P<unit>{_UNIT})(?P<power>[²³]|(?<=[mt])[23])?{_PER}(?![\w²³]|[.]\w|['’]\w|-[A-Z\d])(?:\.(?=\s[a-z]|[,;:)]))?",
        _unit,
    ),
)
