"""What was said against what was heard, word by word."""

import string
from dataclasses import dataclass
from typing import Literal

Kind = Literal["right", "wrong", "missing", "extra"]
_WRONG, _GAP = 4, 3
_PUNCTUATION = string.punctuation.replace("'", "") + "“”‘’«»…–—¿¡"


@dataclass(frozen=True)
class Mark:
    """A stretch of the comparison: ``said`` is empty for an extra word, ``heard`` for a missing one."""

    kind: Kind
    said: str
    heard: str


def compare(said: str, heard: str) -> list[Mark]:
    """The cheapest alignment of the words of two texts, case and punctuation apart.

    A wrong word costs 4, a missing or extra one 3: the weights of NIST's sclite, which find more right words
    than equal ones. Error rates are counted elsewhere, with equal weights.
    """
    left, right = said.split(), heard.split()
    left_plain, right_plain = [_plain(word) for word in left], [_plain(word) for word in right]
    cost = _costs(left_plain, right_plain)
    marks: list[Mark] = []
    i, j = 0, 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            differs = left_plain[i] != right_plain[j]
            if cost[i][j] == cost[i + 1][j + 1] + _WRONG * differs:
                marks.append(Mark("wrong" if differs else "right", left[i], right[j]))
                i, j = i + 1, j + 1
                continue
        if i < len(left) and cost[i][j] == cost[i + 1][j] + _GAP:
            marks.append(Mark("missing", left[i], ""))
            i += 1
        else:
            marks.append(Mark("extra", "", right[j]))
            j += 1
    return marks


def _costs(left: list[str], right: list[str]) -> list[list[int]]:
    """cost[i][j]: the price of turning left[i:] into right[j:]."""
    rows, columns = len(left), len(right)
    cost = [[_GAP * (rows - i + columns - j) for j in range(columns + 1)] for i in range(rows + 1)]
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            replaced = cost[i + 1][j + 1] + _WRONG * (left[i] != right[j])
            cost[i][j] = min(replaced, cost[i + 1][j] + _GAP, cost[i][j + 1] + _GAP)
    return cost


def _plain(word: str) -> str:
    return word.casefold().strip(_PUNCTUATION) or word
