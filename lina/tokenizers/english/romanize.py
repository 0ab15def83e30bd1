"""Words in Cyrillic and Greek letters, spelled in Latin ones as English does: привет as privyet."""

import re
import unicodedata

_CYRILLIC = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "yo", "ж": "zh", "з": "z", "и": "i", "й": "y",
    "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f",
    "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu",
    "я": "ya", "і": "i", "ї": "yi", "є": "ye", "ґ": "g", "ў": "w", "ђ": "dj", "ј": "y", "љ": "ly", "њ": "ny",
    "ћ": "ch", "џ": "dzh", "ѓ": "gy", "ќ": "ky", "ѕ": "dz",
}  # fmt: skip
_GREEK = {
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
    "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f",
    "χ": "ch", "ψ": "ps", "ω": "o",
}  # fmt: skip
_LETTERS = _CYRILLIC | _GREEK
_PAIRS = {
    "ου": "ou", "αι": "e", "ει": "i", "οι": "i", "αυ": "av", "ευ": "ev", "γγ": "ng", "γκ": "g",
    "μπ": "b", "ντ": "d",
}  # fmt: skip
_YE = re.compile(r"(?<![^аеёиоуыэюяьъ])е|е(?=[^аеёиоуыэюяьъй]{1,2}$)")
"""A ``ye``: at the beginning, after a vowel, and in a last syllable that is closed."""
FOREIGN_WORD = re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]{2,}|[\u0400-\u045f\u0490\u0491]+")


def romanize(word: str) -> str | None:
    """Romanize a match of ``FOREIGN_WORD`` (NFC); None if it has an unknown letter."""
    lowered = word.lower()
    if lowered[0] not in _GREEK and not unicodedata.name(lowered[0], "").startswith("GREEK"):
        letters = _YE.sub("є", lowered)
    else:
        letters = "".join(c for c in unicodedata.normalize("NFD", lowered) if not unicodedata.combining(c))
        for pair, latin in _PAIRS.items():
            letters = letters.replace(pair, latin)
    spelled = [_LETTERS.get(letter, letter if letter.isascii() else None) for letter in letters]
    if None in spelled:
        return None
    latin = "".join(filter(None, spelled))
    return latin.capitalize() if word[0].isupper() else latin
