"""The rule for the end of a sentence, which can be asked again as a text grows, in linear time altogether."""

import re

_STOP = ".!?…"
_WIDE_STOP = "。！？｡"
STOPS = _STOP + _WIDE_STOP
CLOSERS = "\"'”’»›)]}」』）】》"
_BLOCK = r"</(?:h[1-6]|p|li|dt|dd|title|caption|tr|div)>"
_LONGEST_TAG = len("</caption>")
_SEPARATOR = "\u2028\u2029"
"""Unicode's ends of a line and of a paragraph: each ends a sentence."""
# Possessive and bounded quantifiers: a run that grows character by character is looked at again with each. A longer run
# than that is no end, and a candidate begins where its run begins, wherever the search does.
_CANDIDATE = re.compile(
    rf"(?<![{STOPS}])(?P<stop>[{STOPS}]{{1,256}}+)[{re.escape(CLOSERS)}]{{0,64}}+"
    rf"(?:(?:\[\w{{1,2}}\]){{1,2}}|\[\w{{3,4}}\])?+(?P<blank>\s{{0,512}}+)|"
    rf"(?<!\s)(?=[^\S\n{_SEPARATOR}]{{0,64}}[\n{_SEPARATOR}])(?P<gap>\s{{1,512}}+)|"
    rf"(?P<block>{_BLOCK})\s{{0,512}}+"
)
_BLANKS = "".join(one for one in map(chr, range(0x3001)) if one.isspace())
_CONTENT = re.compile(r"[^\W_]")
LONGEST_RUN = 600
"""Characters of any candidate, at most."""
_WORD_BEFORE = 12
_LOOK_AHEAD = 8
"""Characters after a candidate, or of an unfinished one, that may be needed to decide it."""

# More of the sentence always follows these; others (etc., p.m.) end one unless a lower-case letter comes.
_ABBREVIATIONS = (
    " mr mrs ms mx messrs mmes dr prof rev hon st mt col maj capt cmdr lt sgt sen rep gov pres supt "
    "vs cf e.g i.e eg ie viz approx fig figs nos vol vols pp gen ft adm cpl maj msgr "
)
_BEFORE_A_NUMBER = (
    " no p ch sec eq art ca c pt nr para ext tel apt ste rm bldg blk flt hwy rte pg rs ver lat est eqs chs paras "
    "jan feb mar apr jun jul aug sep sept oct nov dec "
)
_DOTTED = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]")
# After U.S. or p.m. a capital may go on (U.S. Army, p.m. Monday) or begin; these begin.
_BEGINNERS = (
    " a after all an and as at but by did do does for from he her his how i if in is it its let my no not now on one "
    "our she so some that the their then there these they this those to was we were what when where which who why "
    "with yes you your "
)
_LONGEST_BEGINNER = 6
_NEXT_WORD = re.compile(r"[^\W_]{1,7}+(?P<whole>\W)?")

_BULLET = "[*•‣◦▪●○+-]"
_LINE_MARK = re.compile(rf"(?:{_BULLET}|\(?\d{{1,2}}[.)]|#{{1,6}})[ \t]")
_LINE_MARK_BEGUN = re.compile(rf"{_BULLET}|\(?\d{{0,2}}[.)]?|#{{1,6}}")
_OPENING = re.compile(
    rf"\s{{0,512}}(?:(?P<heading>#{{1,6}}[ \t])|(?P<item>(?:{_BULLET}|\(?\d{{1,2}}[.)])[ \t]))"
)
_ENUMERATOR = re.compile(r"\s{0,512}\(?\d{1,2}")


def sentence_end(
    text: str, start: int = 0, decided: int = 0, content: bool = False, opening: str | None = None
) -> int | None:
    """End of the sentence at ``start``, with the blanks after it, if it is final; else None.

    A sentence ends at a blank line, after ``.!?…`` and closing quotes when blanks follow and then no
    lower-case letter, or after ``。！？`` wherever they stand; never before its first letter or digit, nor at
    ``Mr.``, ``e.g.``, an initial, ``No.`` before a number, or ``U.S.`` before a name. A heading ends with its line, a
    list item where the next begins or a line with a capital. The answer depends on ``text[start:]`` alone.

    Args:
        decided: length of the beginning of ``text[start:]`` for which the answer was None: it is not read again.
        content: a letter or digit of the sentence stands before ``start``.
        opening: the first characters of the sentence, if they stand before ``start``.
    """
    seen = start
    for match in _CANDIDATE.finditer(text, _undecided(text, start, start + decided)):
        if match.end() == len(text):
            return None
        content = content or _CONTENT.search(text, seen, match.start()) is not None
        seen = match.end()
        if content and (ends := _ends(text, start, match, opening)) is not False:
            return match.end() if ends else None
    return None


def _undecided(text: str, start: int, end: int) -> int:
    """Start of the first candidate that the text up to ``end`` may have left open."""
    last = place = max(start, end - _LOOK_AHEAD)
    for characters in (_BLANKS, CLOSERS, STOPS):
        if text[place - 1 : place] in characters:
            low = max(start, place - LONGEST_RUN)
            place = low + len(text[low:place].rstrip(characters))
            if place == low > start:
                return last  # longer than any candidate
    tag = text.rfind("<", max(start, place - _LONGEST_TAG), place)
    return place if tag < 0 else tag


def ends_paragraph(blanks: str) -> bool:
    """Test if the blanks between two sentences separate paragraphs."""
    return blanks.count("\n") > 1 or "\u2029" in blanks


def _ends(text: str, start: int, match: re.Match[str], opening: str | None) -> bool | None:
    """None: further text decides."""
    if match["block"]:
        return True
    if match["gap"]:
        return _ends_at_line(text, start, match, opening)
    if any(character in _WIDE_STOP for character in match["stop"]):
        return True
    if match["blank"].count("\n") > 1 or not set(_SEPARATOR).isdisjoint(match["blank"]):
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
    if opening is None and _ENUMERATOR.fullmatch(text, start, match.start()):
        return False
    if not _DOTTED.fullmatch(word) or match["stop"] != match[0].rstrip():
        return True
    after = _NEXT_WORD.match(text, match.end())
    if after is None:
        return True
    if not after["whole"]:
        return None if len(after[0]) <= _LONGEST_BEGINNER else False
    return f" {after[0][:-1].lower()} " in _BEGINNERS


def _ends_at_line(text: str, start: int, match: re.Match[str], opening: str | None) -> bool | None:
    blanks, end = match["gap"], match.end()
    if blanks.count("\n") > 1 or not set(_SEPARATOR).isdisjoint(blanks):
        return True
    line = _OPENING.match(text, start) if opening is None else _OPENING.match(opening)
    if line is not None and (line["heading"] or (blanks[-1] == "\n" and text[end].isupper())):
        return True
    if _LINE_MARK.match(text, end):
        return True
    return None if len(text) - end < _LOOK_AHEAD and _LINE_MARK_BEGUN.fullmatch(text, end) else False
