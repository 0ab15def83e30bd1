"""Addresses: URLs, e-mail, handles, hashtags, paths."""

import re

from lina.tokenizers.english.numbers import digits, pairs
from lina.tokenizers.english.rule import Rule, Style, always, spell

_ENDINGS = "com|org|net|edu|gov|io|ai|co|uk|de|fr|eu|info|biz|us|ca|au|tv|me|ly|app|dev|ch|it|es|nl|se|in|jp"
_ENDINGS += "|COM|ORG|NET|EDU|GOV|IO|AI|UK|Com|Org|Net"
_SPELT_ENDINGS = frozenset(
    ["ai", "uk", "de", "fr", "eu", "us", "tv", "ch", "it", "es", "nl", "se", "in", "jp", "au", "ca", "io"]
)
_SIGNS = {
    ".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "*": "star", "\\": "backslash",
}  # fmt: skip
_PART = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_SHORT = {
    "usr": "user", "tmp": "temp", "src": "source", "img": "image", "doc": "dock", "docs": "docks", "pkg":
    "package", "py": "P Y", "js": "J S", "txt": "text", "jpg": "jay peg", "jpeg": "jay peg", "cfg": "config",
    "md": "M D", "yml": "yammel", "yaml": "yammel", "json": "jason", "exe": "E X E", "etc": "E T C", "bashrc":
    "bash R C", "gz": "G Z", "ini": "I N I",
}  # fmt: skip
_LETTERS = frozenset((
    "www", "http", "https", "html", "php", "pdf", "ftp", "fbi", "cia", "bbc", "cnn", "nhs", "mit",
    "ibm",
))  # fmt: skip


def _address(match: re.Match[str], style: Style) -> str:
    text = re.sub(r"^(?:https?|s?ftp)://", "", match[0])
    return read_address(text.rstrip("/"), style)


def read_address(text: str, style: Style) -> str:
    """Read the words of an address or a path, and its signs by name."""
    words, dot = [], False
    for part in _PART.findall(text):
        if part.isdecimal():
            words.append(pairs(part) if len(part) < 5 else digits(part))
        elif part.isalpha():
            words.append(_word(part, dot, style))
        else:
            words.append(_SIGNS.get(part, ""))
        dot = part == "."
    return " ".join(filter(None, words))


def _word(part: str, after_dot: bool, style: Style) -> str:
    lowered = part.lower()
    if lowered in _SHORT:
        return _SHORT[lowered]
    if lowered in _LETTERS or (after_dot and lowered in _SPELT_ENDINGS) or not set(lowered) & set("aeiouy"):
        return spell(part, style)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", lowered if part.isupper() else part)


def _handle(match: re.Match[str], style: Style) -> str:
    return f"at {read_address(match[1], style)}"


def _hashtag(match: re.Match[str], style: Style) -> str:
    return f"hashtag {read_address(match[1], style)}"


_PATH = r"(?:[/?#][\w/%&=+~#?@:.,-]*[\w/=]|/)?"

RULES: tuple[Rule, ...] = (
    Rule(r"[\w.+-]{1,64}+@[\w-]{1,64}(?:\.[\w-]{1,64}){0,5}\.[A-Za-z]{2,24}", _address),
    Rule(rf"(?:https?|s?ftp)://[\w.-]*\w(?::\d+)?{_PATH}", _address),
    Rule(rf"www\.[\w-]{{1,64}}(?:\.[\w-]{{1,64}}){{0,5}}(?<=\w){_PATH}", _address),
    Rule(rf"(?:[A-Za-z][\w-]{{0,63}}+\.){{1,5}}(?:{_ENDINGS})\b(?![.]?\w){_PATH}", _address),
    Rule(r"@([A-Za-z_]\w*)", _handle),
    Rule(r"#([A-Za-z_]\w*)", _hashtag),
    Rule(r"#(?=\d)", always("number ")),
)
