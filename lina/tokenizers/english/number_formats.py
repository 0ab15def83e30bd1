"""Conversion of foreign number formats to the English one: ``1 234,5 €`` to ``1,234.5 €``."""

import re

from lina.tokenizers.english.rule import one_of
from lina.tokenizers.english.units import UNITS

_EURO = r"(?:€|EUR\b|CHF\b|euros?\b|zł|kr\b|SEK\b|NOK\b|DKK\b|PLN\b|CZK\b)"
_QUANTITY = rf"(?:\s?(?:[%‰°]|{_EURO}|(?:{one_of(UNITS)})(?![\w.]))|\s(?:{_EURO}|million|billion)\b)"
_BEFORE_A_NUMBER = re.compile(r"(?:call|dial|phone|tel|fax|number|code|pin)[:.]?\s$", re.IGNORECASE)

_SPACED = re.compile(r"(?<![\d.,:/-])(?<!\d )([1-9]\d{0,2})((?: \d{3})+)(?![\d:/-]| \d|[.,]\d{3})")
_DOTTED = re.compile(r"(?<![\d.,])(\d{1,3}(?:\.\d{3})+),(\d{1,2})(?![\d.,]?\d)")
_DOTTED_WHOLE = re.compile(r"(?<![\d.,])([1-9]\d{0,2})\.(\d{3})\.(\d{3})(?![.,]?\d)")
_EUROS = re.compile(
    rf"(?<![\d.,])(?P<after>[1-9]\d{{0,2}}\.\d{{3}})(?=\s?{_EURO})|(?<=€)(?P<before>[1-9]\d{{0,2}}\.\d{{3}})(?![.,]?\d)"
)
_COMMA = re.compile(
    rf"(?<![\d.,])(\d{{1,9}}),(\d{{1,2}})(?={_QUANTITY})"
    r"|(?:(?<=€)|(?<=€ )|(?<=EUR )|(?<=CHF ))(\d{1,9}),(\d\d)(?![\d,])"
)
_LONG_DECIMALS = re.compile(r"(?<![\d.,])(\d{1,9}),(\d{4,})(?![.,]?\d)")
_QUOTED = re.compile(r"(?<![\d.,])([1-9]\d{0,2}(?:['’]\d{3})+)(?!\d)")
_LAKHS = re.compile(r"(?<![\d.,])(\d{1,2}(?:,\d{2})+,\d{3})(?![,\d])")


def unify_numbers(text: str) -> str:
    """Put commas between thousands and a point before decimals, where the number is unambiguous."""
    text = _SPACED.sub(_spaced, text)
    text = _DOTTED.sub(lambda match: f"{match[1].replace('.', ',')}.{match[2]}", text)
    text = _DOTTED_WHOLE.sub(r"\1,\2,\3", text)
    text = _EUROS.sub(lambda match: match[0].replace(".", ","), text)
    text = _COMMA.sub(lambda match: f"{match[1] or match[3]}.{match[2] or match[4]}", text)
    text = _LONG_DECIMALS.sub(r"\1.\2", text)
    text = _QUOTED.sub(lambda match: match[0].replace("'", ",").replace("’", ","), text)
    return _LAKHS.sub(lambda match: match[0].replace(",", ""), text)


def _spaced(match: re.Match[str]) -> str:
    """A single group counts as thousands only before a unit or a noun, or as ``10 000``."""
    groups = match[2].split()
    after = match.string[match.end() : match.end() + 2]
    alone = len(groups) == 1 and not (groups[0] == "000" or re.match(r"\s[a-z€%]|[€%]", after))
    if alone or _BEFORE_A_NUMBER.search(match.string[max(0, match.start() - 10) : match.start()]):
        return match[0]
    return ",".join([match[1], *groups])
