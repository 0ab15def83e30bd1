"""Text normalization of English: numbers, dates, money, units, addresses, abbreviations and signs become words.

The rules are plain Python. A sentence is scanned once, from left to right: at the start of each word, number or sign
the first rule that matches gives the words for it, and no other rule reads that part again.
"""

import re
from collections.abc import Callable, Sequence

from lina.tokenizers.english import (
    abbreviations,
    amounts,
    dates,
    formulas,
    labels,
    names,
    paths,
    quantities,
    symbols,
    times,
    web,
)
from lina.tokenizers.english.number_formats import unify_numbers
from lina.tokenizers.english.rule import Rule, RuleTable, Style

__all__ = ["RULES", "Style", "normalize"]

RULES: tuple[Rule, ...] = (
    *web.RULES,
    *paths.RULES,
    *labels.RULES,
    *times.RULES,
    *dates.RULES,
    *amounts.RULES,
    *formulas.RULES,
    *quantities.RULES,
    *abbreviations.RULES,
    *names.RULES,
    *symbols.RULES,
)
"""All rules, in the order of precedence."""

_TABLE = RuleTable(RULES)
_PLAIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\s+|.", re.DOTALL)
_JUST_A_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)*(?=\s)")
_BLANKS = re.compile(r"\s+")
_BLANK_BEFORE_MARK = re.compile(r" (?=[,.;:!?…])")
_MARKS_IN_A_ROW = re.compile(r",(?= ?[,.;:!?…])")

REACH = 256
"""Maximum characters that a rule sees from its start, so that no pattern scans a whole long text."""

_USUAL = Style()


def normalize(sentence: str, style: Style = _USUAL) -> str:
    """Write a sentence out in words with its punctuation; blanks around it become one.

    A function of the sentence alone, in linear time. Never fails: characters without a rule are kept.
    """
    sentence = unify_numbers(sentence)
    rules = _TABLE.of_text(sentence)
    pieces, last, place, joint = [""], "", 0, False
    while place < len(sentence):
        text, end, read = _next(sentence, place, style, rules)
        if text and (read or joint) and text[0].isalnum() and last.isalnum():
            pieces.append(" ")
        if read and not text:
            text = " "
        pieces.append(text)
        last = text[-1:] or last
        joint, place = read, end
    words = _BLANK_BEFORE_MARK.sub("", _BLANKS.sub(" ", "".join(pieces)))
    return _MARKS_IN_A_ROW.sub("", words)


def _next(
    sentence: str, place: int, style: Style, rules: Callable[[str], Sequence[Rule]]
) -> tuple[str, int, bool]:
    """The words at a position, the end of the part they stand for, and a flag: from a rule."""
    here, before = sentence[place], sentence[place - 1 : place]
    inside = (before.isalpha() and here.isalpha()) or (before.isdecimal() and here.isdecimal())
    if not inside and not here.isspace():
        word = _JUST_A_WORD.match(sentence, place)
        if not (word and len(word[0]) > 4):
            for one in rules(here):
                match = one.pattern.match(sentence, place, place + REACH)
                if match and match.end() > place and (text := one.read(match, style)) is not None:
                    return text, match.end(), True
    plain = _PLAIN.match(sentence, place)
    assert plain is not None
    return plain[0], plain.end(), False
