"""Numbers in English words, without hyphens and without ``and``: ``one hundred five``."""

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = [
    "",
    *["thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion"],
]
LONGEST = 3 * len(SCALES)
"""Maximum digits; longer numbers are read digit by digit."""

_IRREGULAR = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def cardinal(number: int) -> str:
    """Cardinal in words; ``number`` is at least 0 and has at most ``LONGEST`` digits."""
    if number == 0:
        return ONES[0]
    groups: list[str] = []
    for scale in SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.insert(0, f"{_below_thousand(group)} {scale}".strip())
    return " ".join(groups)


def _below_thousand(number: int) -> str:
    words = [ONES[number // 100], "hundred"] if number >= 100 else []
    number %= 100
    if number >= 20:
        words.append(TENS[number // 10 - 2])
        number %= 10
    return " ".join([*words, ONES[number]] if number else words)


def ordinal(number: int) -> str:
    """``twenty first``."""
    return ordinal_of(cardinal(number))


def ordinal_of(words: str) -> str:
    before, _, last = words.rpartition(" ")
    last = (
        _IRREGULAR[last] if last in _IRREGULAR else f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    )
    return f"{before} {last}".strip()


def plural_of(words: str) -> str:
    """Plural of number words: ``nineties``, ``hundreds``, ``sixes``."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return words + ("es" if words.endswith("x") else "s")


def year(number: int) -> str:
    """``nineteen oh five``, ``two thousand five``, ``twenty twenty four``."""
    century, rest = divmod(number, 100)
    if number < 1000 or (century % 10 == 0 and rest < 10) or century > 99:
        return cardinal(number)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """The digits of a text one by one, without its other characters."""
    return " ".join(ONES[int(one)] for one in text if one.isdecimal())


def number(text: str) -> str:
    """``1,234.50``, ``.5``, ``007``, or a whole number; digits that follow a point are read one by one."""
    whole, point, rest = text.replace(",", "").partition(".")
    if not whole:
        words = "zero" if rest else ""
    elif len(whole) > LONGEST or (len(whole) > 1 and whole[0] == "0"):
        words = digits(whole)
    else:
        words = cardinal(int(whole))
    return f"{words} point {digits(rest)}" if point and rest else words


def is_one(text: str) -> bool:
    """Test if a number takes the singular."""
    return text in ("1", "1.0", "1.00")


def pairs(text: str) -> str:
    """Digits of a label, in pairs: ``7``, ``66``, ``one oh one``, ``twenty two ten``."""
    if text[0] == "0" or len(text) > 4:
        return digits(text)
    if len(text) < 3 or text.endswith("00"):
        return cardinal(int(text))
    first, last = text[:-2], text[-2:]
    return f"{cardinal(int(first))} {'oh ' if last[0] == '0' else ''}{cardinal(int(last))}"


def roman(text: str) -> int:
    """The value of a well-formed Roman numeral in capitals."""
    values = [_ROMAN[letter] for letter in text]
    return sum(-one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True))
