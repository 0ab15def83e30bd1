"""Validation of texts before any tokenizer, and the rule for the end of a sentence."""

import re
import unicodedata

from lina.core.errors import TextError

_STOP = ".!?…"
_WIDE_STOP = "。！？｡"
_CLOSER = "\"'”’»›)]}」』）】》"
# Possessive quantifiers: without them a long run of stops costs its length squared.
_CANDIDATE = re.compile(
    rf"(?P<stop>[{_STOP}{_WIDE_STOP}]++)[{re.escape(_CLOSER)}]*+(?P<blank>\s*+)|(?P<gap>\n\s*+)"
)
_WORD_BEFORE = 12

# More of the sentence always follows these; others (etc., p.m.) end one unless a lower-case letter comes.
_ABBREVIATIONS = (
    " mr mrs ms mx messrs mmes dr prof rev hon st mt col maj capt cmdr lt sgt sen rep gov pres supt "
    "vs cf e.g i.e eg ie viz approx fig figs nos vol vols pp gen ft adm cpl maj msgr "
)
_BEFORE_A_NUMBER = " no p ch sec eq art ca c pt jan feb mar apr jun jul aug sep sept oct nov dec "
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]")
# After U.S. or p.m. a capital may go on (U.S. Army, p.m. Monday) or begin; these begin.
_BEGINNERS = (
    " a after all an and as at but by did do does for from he her his how i if in is it its let my no not now on one "
    "our she so some that the their then there these they this those to was we were what when where which who why "
    "with yes you your "
)
_NEXT_WORD = re.compile(r"[^\W_]++(?P<whole>\W)?")


def check_text(text: str, limit: int, where: str = "text") -> None:
    """Refuse texts that cannot be spoken; ``limit`` is in characters.

    Raises:
        TextError: empty or blank, without a letter or digit, longer than ``limit``, or with control characters, lone
            surrogates, code points that are no characters, or U+FFFD (the trace of wrong decoding).
    """
    if not text.strip():
        raise TextError(f"{where} is {'blank' if text else 'empty'}; write at least one word")
    if len(text) > limit:
        raise TextError(f"{where} has {len(text)} characters, the limit is {limit}; split it into sentences")
    for place, character in enumerate(text):
        kind = _unspeakable(character)
        if kind:
            near = "".join(c for c in text[max(0, place - 10) : place + 11] if not _unspeakable(c)).strip()
            raise TextError(
                f"{where} has {kind} U+{ord(character):04X} at character {place}, near {near!r}; remove it"
            )
    if not any(map(str.isalnum, text)):
        raise TextError(f"{where} {text.strip()[:40]!r} has no letter or digit; write at least one word")


def _unspeakable(character: str) -> str:
    if character.isprintable() and character != "\ufffd":
        return ""
    category = unicodedata.category(character)
    if category == "Cc" and character not in "\t\n\r":
        return "the control character"
    if category == "Cs":
        return "the lone surrogate"
    if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
        return "the code point that is no character"
    return "the replacement character (decoded wrongly)" if character == "\ufffd" else ""


def split_sentences(text: str) -> list[str]:
    """Split a text into stripped sentences, without blank ones, in linear time."""
    sentences, start = [], 0
    while (end := sentence_end(text, start)) is not None:
        sentences.append(text[start:end].strip())
        start = end
    return [sentence for sentence in [*sentences, text[start:].strip()] if sentence]


def sentence_end(text: str, start: int = 0) -> int | None:
    """End of the sentence at ``start``, with the blanks after it, if it is final; else None.

    A sentence ends at a blank line, after ``.!?…`` and closing quotes when blanks follow and then no
    lower-case letter, or after ``。！？`` wherever they stand; never before its first letter or digit, nor at
    ``Mr.``, ``e.g.``, an initial, ``No.`` before a number, or ``U.S.`` before a name. The
    answer depends on ``text[start:]`` alone.
    """
    content, seen = False, start
    for match in _CANDIDATE.finditer(text, start):
        if match.end() == len(text):
            return None
        content = content or any(map(str.isalnum, text[seen : match.start()]))
        seen = match.end()
        if content and (ends := _ends(text, start, match)) is not False:
            return match.end() if ends else None
    return None


def _ends(text: str, start: int, match: re.Match[str]) -> bool | None:
    """None: further text decides."""
    if match["gap"]:
        return match["gap"].count("\n") > 1
    if any(character in _WIDE_STOP for character in match["stop"]):
        return True
    if match["blank"].count("\n") > 1:
        return True
    following = text[match.end()]
    if not match["blank"] or following.islower() or following in _STOP:
        return False
    if match["stop"] != ".":
        return True
    before = text[max(start, match.start() - _WORD_BEFORE) : match.start()].split()
    word = before[-1].lstrip("\"'“‘«([{") if before else ""
    initial = len(word) == 1 and word.isalpha() and word.isupper() and word != "I"
    known = f" {word.lower()} "
    if initial or known in _ABBREVIATIONS or (known in _BEFORE_A_NUMBER and following.isdecimal()):
        return False
    if not _DOTTED.fullmatch(word) or match["stop"] != match[0].rstrip():
        return True
    after = _NEXT_WORD.match(text, match.end())
    if after is None:
        return True
    if not after["whole"]:
        return None
    return f" {after[0][:-1].lower()} " in _BEGINNERS
