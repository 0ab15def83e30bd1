"""Written English as words: numbers, dates, money, units, addresses, abbreviations and signs are written out.

Our own rules in plain Python. A sentence is gone through once, from the left: where a word, a number or a sign
begins, the first rule that matches says what is read there, and what it has said no other rule sees again.
"""

import re

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
from lina.tokenizers.english.rule import Rule, Style

__all__ = ["RULES", "Style", "normalise"]

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
"""In the order in which they are asked."""

_PLAIN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\s+|.", re.DOTALL)
_JUST_A_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)*(?=\s)")
_BLANKS = re.compile(r"\s+")
_BLANK_BEFORE_MARK = re.compile(r"\s+([,.;:!?…])")
_MARKS_IN_A_ROW = re.compile(r",(\s*[,.;:!?…])")


_USUAL = Style()


def normalise(sentence: str, style: Style = _USUAL) -> str:
    """The words of a sentence, with its punctuation; blanks around it are kept as one.

    A function of the sentence alone. It never refuses: characters that no rule knows are handed on as they are.
    """
    sentence = unify_numbers(sentence)
    said, place, joint = "", 0, False
    while place < len(sentence):
        text, end, read = _next(sentence, place, style)
        if text and (read or joint) and text[0].isalnum() and said[-1:].isalnum():
            said += " "
        if read and not text:
            text = " "
        said += text
        joint, place = read, end
    said = _BLANK_BEFORE_MARK.sub(r"\1", _BLANKS.sub(" ", said))
    return _MARKS_IN_A_ROW.sub(r"\1", said)


def _next(sentence: str, place: int, style: Style) -> tuple[str, int, bool]:
    """What is said at a place, where it goes on, and whether a rule said it."""
    word = _JUST_A_WORD.match(sentence, place)
    here, before = sentence[place], sentence[place - 1 : place]
    inside = (before.isalpha() and here.isalpha()) or (before.isdecimal() and here.isdecimal())
    if not (inside or sentence[place].isspace() or (word and len(word[0]) > 4)):
        for one in RULES:
            match = one.pattern.match(sentence, place)
            if match and match.end() > place and (text := one.read(match, style)) is not None:
                return text, match.end(), True
    plain = _PLAIN.match(sentence, place)
    assert plain is not None
    return plain[0], plain.end(), False
