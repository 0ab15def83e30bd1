"""Numbers written as words become digits, as Whisper's English normaliser does (Radford et al. 2022, appendix C).

A recogniser writes "25" or "twenty-five", "1984" or "nineteen eighty-four", as it pleases: none of it is an error.
Numbers that follow each other and make no larger one are written together ("five five five one two", "5:30"), for
where one ends and the next begins cannot be heard.
"""

import re

_ONES = [
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = {
    "first": "one",
    "second": "two",
    "third": "three",
    "fifth": "five",
    "eighth": "eight",
    "ninth": "nine",
    "twelfth": "twelve",
}

SMALL = {word: value for value, word in enumerate(_ONES)}
TENS = {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_DIGIT_ORDINAL = re.compile(r"(\d+)(st|nd|rd|th)")


class _Number:
    """A number while its words come in."""

    def __init__(self) -> None:
        self.total = 0
        """Of the scales that are complete: thousands, millions."""
        self.current = 0
        self.room = 0
        """What may still be added must be less: 10 after "twenty", 100 after "hundred", 0 after "seven"."""

    def __int__(self) -> int:
        return self.total + self.current


def digits(words: list[str]) -> list[str]:
    """The words with numbers as digits; decimal ones, and ordinals as "21st"."""
    out: list[str] = []
    place = 0
    while place < len(words):
        found, place_after = _number(words, place)
        if found is None:
            out.append(words[place])
            place += 1
            continue
        out.append(found)
        place = place_after
    return out


def _number(words: list[str], place: int) -> tuple[str | None, int]:
    """The number that begins at ``place``, and the place after it."""
    written, number = "", None
    """Digits that are settled, and the number that may still grow."""
    while place < len(words):
        word = words[place]
        plain, ordinal = _cardinal(word)
        if plain is None:
            if word == "and" and number is not None and number.room >= 100 and _follows(words, place + 1):
                place += 1
                continue
            if word == "point" and (number is not None or written) and _follows(words, place + 1):
                decimals, place = _decimals(words, place + 1)
                return f"{written}{'' if number is None else int(number)}.{decimals}", place
            break
        place += 1
        if _DIGITS.fullmatch(plain) and plain not in SMALL:
            written += "" if number is None else str(int(number))
            number = None
            if words[place : place + 1] and words[place] in _SCALES and "." not in plain:
                number = _Number()
                number.current = int(plain)
            elif "." in plain and words[place : place + 1] and words[place] in _SCALES:
                return f"{written}{round(float(plain) * _SCALES[words[place]])}", place + 1
            else:
                written += plain
        else:
            number, settled = _grow(number, plain)
            written += settled
        if ordinal:
            break
    else:
        ordinal = False
    if number is not None:
        written += str(int(number))
    if not written:
        return None, place
    return written + (_suffix(written) if ordinal else ""), place


def _grow(number: _Number | None, word: str) -> tuple[_Number, str]:
    """The number with a further word, or a new one and the digits of the number that is complete."""
    if number is not None and word == "hundred" and 0 < number.current < 100:
        number.current, number.room = 100 * number.current, 100
        return number, ""
    if number is not None and word in _SCALES and number.current:
        number.total, number.current, number.room = (
            number.total + number.current * _SCALES[word],
            0,
            _SCALES[word],
        )
        return number, ""
    if word == "hundred" or word in _SCALES:
        value, room = (100, 100) if word == "hundred" else (_SCALES[word], _SCALES[word])
    else:
        value = SMALL[word] if word in SMALL else TENS[word]
        room = 10 if word in TENS else 0
    if number is not None and 0 < value < number.room:
        number.current, number.room = number.current + value, room
        return number, ""
    new = _Number()
    new.current, new.room = value, room
    return new, "" if number is None else str(int(number))


def _cardinal(word: str) -> tuple[str | None, bool]:
    """The word without what makes it an ordinal, if it is a number's, and whether it was one."""
    if word in SMALL or word in TENS or word == "hundred" or word in _SCALES or _DIGITS.fullmatch(word):
        return word, False
    if found := _DIGIT_ORDINAL.fullmatch(word):
        return found[1], True
    if word in _ORDINALS:
        return _ORDINALS[word], True
    base = word.removesuffix("th")
    if base != word:
        base = base.removesuffix("ie") + "y" if base.endswith("ie") else base
        if base in SMALL or base in TENS or base == "hundred" or base in _SCALES:
            return base, True
    return None, False


def _follows(words: list[str], place: int) -> bool:
    return place < len(words) and _cardinal(words[place])[0] is not None


def _decimals(words: list[str], place: int) -> tuple[str, int]:
    """Digits after the point, one by one or together."""
    said = ""
    while place < len(words):
        word = words[place]
        if word in SMALL:
            said += str(SMALL[word])
        elif word.isdigit():
            said += word
        elif word in TENS:
            rest = SMALL.get(words[place + 1], 10) if place + 1 < len(words) else 10
            said += str(TENS[word] + (rest if 0 < rest < 10 else 0))
            place += 0 < rest < 10
        else:
            break
        place += 1
    return said, place


def _suffix(written: str) -> str:
    if written[-2:] in ("11", "12", "13"):
        return "th"
    return {"1": "st", "2": "nd", "3": "rd"}.get(written[-1], "th")
