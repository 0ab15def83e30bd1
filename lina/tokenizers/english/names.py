"""Words in capitals: Roman numerals and acronyms."""

import re

from lina.tokenizers.english.numbers import cardinal, ordinal, roman, year
from lina.tokenizers.english.rule import NEAR, Rule, Style, always, before, one_of, spell

_NUMERAL = r"(?=[IVXLCDM]+\b)M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?<=[IVXLCDM])"
_NUMBERED_NOUNS = [
    "Chapter", "Part", "Volume", "Book", "Act", "Scene", "Section", "Article", "Appendix", "Figure",
    "Table", "Phase", "Stage", "Type", "Class", "Grade", "Level", "Episode", "Season", "Title",
    "War", "Bowl", "Mark", "Group", "Unit", "Step", "Apollo", "Gemini", "Rocky", "Canto", "Psalm",
    "Amendment", "Division", "Game", "CHAPTER", "PART", "VOLUME", "BOOK", "ACT", "SCENE", "chapter",
    "part", "volume", "book", "act", "scene", "section", "phase", "stage", "type",
]  # fmt: skip
_NUMBERED_ABBREVIATIONS = {
    "Vol": "Volume", "vol": "volume", "Ch": "Chapter", "Pt": "Part", "Fig": "Figure",
    "Sec": "Section", "Art": "Article",
}  # fmt: skip
_REIGNING = [
    "Alexander", "Albert", "Alfonso", "Augustus", "Baldwin", "Benedict", "Catherine", "Charles",
    "Christian", "Clement", "Constantine", "David", "Edward", "Elizabeth", "Eric", "Ferdinand",
    "Francis", "Frederick", "George", "Gregory", "Gustav", "Haakon", "Harald", "Henry", "Innocent",
    "Ivan", "James", "John", "Joseph", "Juan", "Leo", "Leopold", "Louis", "Malcolm", "Margaret",
    "Mary", "Maximilian", "Napoleon", "Nicholas", "Olav", "Otto", "Paul", "Pedro", "Peter",
    "Philip", "Pius", "Ramesses", "Rameses", "Ramses", "Richard", "Robert", "Rudolf", "Stephen",
    "Thutmose", "Umberto", "Urban", "Victor", "Wilhelm", "William",
]  # fmt: skip
_AS_WORDS = frozenset((
    "NASA", "NATO", "UNESCO", "UNICEF", "AIDS", "OPEC", "FIFA", "UEFA", "NAFTA", "ASEAN", "LASER",
    "RADAR", "SONAR", "SCUBA", "SIM", "RAM", "GIF", "DARPA", "NOAA", "OSHA", "SWAT", "FEMA",
    "COBOL", "BASIC", "FORTRAN", "SARS", "COVID", "PIN", "ASCII", "IKEA", "LEGO", "YOLO",
))  # fmt: skip
_SPELT = frozenset((
    "USA", "UK", "EU", "UN", "UAE", "US", "FBI", "CIA", "NSA", "IRS", "UFO", "AI", "API", "CPU",
    "GPU", "USB", "URL", "HTML", "CSS", "XML", "SQL", "HTTP", "HTTPS", "PDF", "CEO", "CFO", "CTO",
    "HR", "IT", "PR", "TV", "DVD", "CD", "PC", "DNA", "RNA", "HIV", "IQ", "ID", "ATM", "FAQ", "DIY",
    "VIP", "RSVP", "ETA", "ASAP", "AKA", "IOU", "UV", "MRI", "NBA", "NFL", "NHL", "MLB", "BBC",
    "CNN", "NBC", "ABC", "CBS", "IBM", "IPO", "IP", "OS", "LA", "DC", "NYC", "LED", "LCD", "EV",
    "IPA", "TTS", "ASR", "LLM", "BMW", "AC", "ADHD", "OCD", "GMT", "UTC", "EST", "PST", "MIT",
    "UCLA", "AM", "PM", "OK", "NAACP", "IEEE", "DJ", "MC", "VR", "AR", "UI", "UX", "IOS", "ISBN",
    "IBAN", "IRA", "IMF", "IV",
))  # fmt: skip
_ALSO_WORDS = frozenset(["IT", "US", "AM", "ID", "LA", "OS", "AC", "AR"])
"""Left unchanged in a text that is all in capitals."""
_HALVES = {
    "JPEG": "jay peg",
    "MPEG": "em peg",
    "MS-DOS": "M S doss",
    "CD-ROM": "C D rom",
    "IOS": "I O S",
    "WWI": "World War one",
    "WWII": "World War two",
}


_NO_NAMES = frozenset((
    "A", "An", "The", "This", "That", "My", "Your", "His", "Her", "Its", "Our", "Their", "In", "On", "By", "At",
    "To", "Of", "For", "With", "From", "And", "Or", "But", "If", "As", "Is", "Was", "No", "New", "Start",
    "Give", "Get", "Take", "Use", "Hang", "Stop", "One", "Two", "Each", "Every", "Any", "Some", "Another",
))  # fmt: skip
"""Capitalized words after which ``IV`` is no number: ``An IV drip``."""
_CAPITALS = re.compile(r"\s+[A-Z]{2,}\b")


def _numbered_noun(match: re.Match[str], style: Style) -> str | None:
    if match[2] in ("C", "D", "L", "M"):
        return None  # a letter of the alphabet: Appendix C
    return f"{match[1]} {cardinal(roman(match[2].upper()))}"


def _numbered_abbreviation(match: re.Match[str], style: Style) -> str:
    return f"{_NUMBERED_ABBREVIATIONS[match[1]]} {cardinal(roman(match[2]))}"


def _reigning(match: re.Match[str], style: Style) -> str:
    if match[1] == "Malcolm" and match[2] == "X":
        return "Malcolm X"
    own = match[3] or ""
    return f"{match[1]} the {ordinal(roman(match[2]))}{own}"


def _numeral(match: re.Match[str], style: Style) -> str | None:
    """After another capitalized word: ``Final Fantasy VII``."""
    word = before(match)
    if not (word[:1].isupper() and word.isalpha() and not word.isupper()) or word in _NO_NAMES:
        return None
    return cardinal(roman(match[0]))


def _century(match: re.Match[str], style: Style) -> str:
    return f"{ordinal(roman(match[1]))} centur{match[2]}"


def _year_numeral(match: re.Match[str], style: Style) -> str:
    return year(roman(match[0]))


def _contraction(match: re.Match[str], style: Style) -> str | None:
    """``DON'T``: only in lower case is it in a lexicon."""
    letters = re.split("['’]", match[0])[0]
    if letters in _SPELT or letters in _AS_WORDS:
        return None
    return match[0].capitalize() if match[0][0] == "I" or not match.start() else match[0].lower()


def _acronym(match: re.Match[str], style: Style) -> str | None:
    word, end = match[1], match[2] or ""
    if word in _HALVES:
        return _HALVES[word] + end
    around = match.string[max(0, match.start() - NEAR) : match.end() + NEAR]
    shouted = not any(map(str.islower, around)) or (
        word in _ALSO_WORDS and _CAPITALS.match(match.string, match.end()) is not None
    )
    if end and word not in _AS_WORDS and word not in _HALVES:
        return None  # the G2P knows how the letters' names end
    if word in _AS_WORDS:
        return word.capitalize() + end
    if word in _SPELT and not (shouted and word in _ALSO_WORDS):
        return spell(word, style) + end
    if len(word) <= 5 and not set(word) & set("AEIOUY") and not (shouted and " " in around.strip()):
        return spell(word, style) + end
    return None


def _camel_acronym(match: re.Match[str], style: Style) -> str:
    """``PhD`` and similar abbreviations are spelled."""
    return {"PhD": "P H D", "PhDs": "P H Ds", "BSc": "B S C", "MSc": "M S C"}[match[0]].replace(
        " ", style.joiner
    )


RULES: tuple[Rule, ...] = (
    Rule(
        rf"({one_of(_NUMBERED_NOUNS)})\s({_NUMERAL}|i{{2,3}}|iv|vi{{0,3}}|ix|xi{{0,3}})\b(?![.'’]\w)",
        _numbered_noun,
    ),
    Rule(
        rf"({one_of(_NUMBERED_ABBREVIATIONS)})\.\s(?![CDLM]\b)({_NUMERAL})\b(?![.'’]\w)",
        _numbered_abbreviation,
    ),
    Rule(rf"({_NUMERAL})\s[cC]entur(y|ies)\b", _century),
    Rule(rf"({one_of(_REIGNING)})\s({_NUMERAL})\b(?![.]\w|['’](?!s\b)\w)(['’]s)?", _reigning),
    Rule(r"(?:X{0,2}(?:IX|IV|V?I{2,3}|VI)|X{2})\b(?!['’.]\w)", _numeral),
    Rule(r"(?=[MDCLXVI]{4,}\b)M{1,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})\b", _year_numeral),
    Rule(r"(?<=OS )X\b|(?<=iPhone )X\b", always("ten")),
    Rule(r"[A-Z]{2,}['’][A-Z]{1,2}\b(?!['’])|I['’](?:M|LL|VE|D)\b", _contraction),
    Rule(r"PhDs?\b|BSc\b|MSc\b", _camel_acronym),
    Rule(r"(MS-DOS|CD-ROM|[A-Z]{2,6})(['’]?s)?(?![\w])", _acronym),
)
