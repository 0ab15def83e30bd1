"""Removal of quotation marks, which are silent and would hide words from the lexicon."""

import re

_DOUBLE = re.compile(r"[\"“”«»]")
_SINGLE = re.compile(r"(?P<open>(?<![\w.])['‘](?=\w))|(?P<apostrophe>(?<=\w)['’](?=\w))|['’‘]")
_ELISION = re.compile(
    r"(?:tis|twas|twere|twill|twould|tisn't|twasn't|em|im|er|cause|cos|coz|cuz|til|till|bout|round|n|neath|nuff|kay|"
    r"tude|gainst|cept|bye|sup|fraid|ome|ello|specially|s|t|d|m|ll|re|ve|\d+s?)\b",
    re.IGNORECASE,
)
"""Elisions: words whose first letters an apostrophe may replace: ``'tis``, ``rock 'n' roll``, ``'90s``."""


def strip_quotes(text: str) -> str:
    """Remove quotation marks, double and single, and keep apostrophes.

    A mark before a word opens a quotation unless an elision such as ``'tis`` follows; the next possible closing mark is
    removed with it. Others stay: ``dogs'``, ``goin'``.
    """
    return _strip_single(_DOUBLE.sub(_gap, text))


def _gap(match: re.Match[str]) -> str:
    """A blank where the words on both sides would run together."""
    around = match.string[match.start() - 1 : match.start()] + match.string[match.end() : match.end() + 1]
    return " " if len(around) == 2 and around.isalnum() else ""


def _strip_single(text: str) -> str:
    pieces, place, opened = [], 0, 0
    for match in _SINGLE.finditer(text):
        if match["apostrophe"]:
            continue
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        if match["open"]:
            if _ELISION.match(text, match.end()):
                continue
            opened += 1
        elif opened and not after.isalnum():
            opened -= 1
        elif before.isalnum() and not after.isalnum() and match[0] != "‘":
            continue  # a possessive or a letter left out at the end
        pieces.append(text[place : match.start()])
        place = match.end()
    return "".join([*pieces, text[place:]])
