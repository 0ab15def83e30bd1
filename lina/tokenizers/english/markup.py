r"""HTML, Markdown and BBCode in a text: markup is removed, words are kept.

The words of links, emphasis, headings, list items and quotations are kept without their marks. Every pattern matches
a bounded stretch of text, so the time is linear.
"""

import html
import re

_TAGS = (
    "a abbr address article aside audio b base big blockquote body br button canvas caption center cite code "
    "col colgroup dd del details dfn div dl dt em embed fieldset figcaption figure font footer form h[1-6] "
    "head header hr html i iframe img input ins kbd label legend li link main map mark menu meta nav noscript "
    "object ol option output p param picture pre q s samp script section select small source span strike "
    "strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt "
    "u ul var video wbr"
).replace(" ", "|")
_ATTRIBUTE = r"""\s+[\w:.-]{1,40}\s?=\s?(?:"[^"<>]{0,300}"|'[^'<>]{0,300}'|[^\s"'<>=`]{1,300})"""
_BLOCK = re.compile(
    r"</?(?:br|p|div|li|ul|ol|h[1-6]|hr|tr|td|th|table|dd|dt|dl|section|article|blockquote|pre)\b",
    re.IGNORECASE,
)
_TAG = re.compile(
    rf"</?(?:{_TAGS})(?:{_ATTRIBUTE}){{0,20}}(?:\s+(?:disabled|checked|hidden|async|defer|open|required))?\s?/?>",
    re.IGNORECASE,
)
_ALT = re.compile(r"""^<img\b[^>]{0,600}?\balt\s?=\s?(?:"([^"<>]*)"|'([^'<>]*)')""", re.IGNORECASE)
_COMMENT = re.compile(
    r"<!--.{0,2000}?-->|<!(?:doctype|DOCTYPE)[^<>]{0,200}>|<\?xml[^<>]{0,200}\?>", re.DOTALL
)
_SILENT_ELEMENT = re.compile(r"<(script|style)\b[^<>]{0,300}>.{0,4000}?</\1\s?>", re.IGNORECASE | re.DOTALL)
_AUTOLINK = re.compile(r"<((?:https?://|mailto:)?[\w.+-]{1,100}(?:@|://|\.)[^\s<>]{1,300})>")
_PLACEHOLDER = re.compile(r"<([A-Za-z][\w -]{0,30})>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]{0,60}$", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:(?:-[ \t]?){3,}|(?:\*[ \t]?){3,}|(?:_[ \t]?){3,}|={3,})$", re.MULTILINE)
_TABLE_RULE = re.compile(r"^[ \t]*\|?(?:[ \t]?:?-{2,}:?[ \t]?\|)+(?:[ \t]?:?-{2,}:?)?[ \t]*$", re.MULTILINE)
_LINE_START = re.compile(
    r"^[ \t]*(?:>[ \t]?(?!\d))*(?:#{1,6}[ \t]+|(?:[*•‣◦▪●○–—-]|\+(?=[ \t]+[^\W\d]))[ \t]+)?(?:\[[ xX✓]?\][ \t]+)?",
    re.MULTILINE,
)
_HEADING_END = re.compile(r"[ \t]+#{1,6}[ \t]*$", re.MULTILINE)
_IMAGE = re.compile(r"!\[([^\[\]\n]{0,300})\](?:\([^()\n]{0,500}\)|\[[^\[\]\n]{0,60}\])")
_LINK = re.compile(
    r"\[([^\[\]\n]{1,300})\]\([^()\s]{0,500}(?:\s\"[^\"\n]{0,200}\")?\)"
    r"|(?<![\w\]])\[([^\[\]\n]{1,300})\]\[[^\[\]\n]{0,60}\](?=\W|$)(?<!\d\])"
)
_REFERENCE = re.compile(r"(?<=[.!?,;:”\"’)])(?:\[\d{1,3}(?:[,–-]\s?\d{1,3})?\]){1,4}(?=\s|$)")
"""The number of a footnote after the mark of a clause, as in an encyclopedia."""
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]{1,30}\]:?")
_STRONG = re.compile(r"(\*\*\*|\*\*|__|~~|==)(?=\S)([^*_~=\n]{1,300}?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![\w*])(\*|_)(?=[^\s*_])([^*_\n]{1,300}?)(?<=[^\s*_])\1(?![\w*])")
_CODE = re.compile(r"(`{1,2})(?![`\s])([^`\n]{1,300}?)\1(?!`)")
_ESCAPE = re.compile(r"\\([*_#`~>|!{}])")
_SNAKE = re.compile(r"(?<=[^\W_])_+(?=[^\W_])")
_BBCODE = re.compile(
    r"\[/?(?:b|i|u|s|url|img|quote|code|color|size|list|center|spoiler)(?:=[^\[\]\n]{0,200})?\]",
    re.IGNORECASE,
)


def strip_markup(text: str) -> str:
    """Remove the markup from a text."""
    if "<" in text:
        text = _SILENT_ELEMENT.sub(" ", _COMMENT.sub(" ", text))
        text = _PLACEHOLDER.sub(r" \1 ", _AUTOLINK.sub(r"\1", _TAG.sub(_tag, text)))
    if "[" in text:
        text = _without_brackets(text)
    text = _FENCE.sub("", _ESCAPE.sub(r"\1", text))
    text = _TABLE_RULE.sub("", _RULE.sub("", text))
    text = _HEADING_END.sub("", _LINE_START.sub("", text))
    text = _CODE.sub(r"\2", text)
    text = _EMPHASIS.sub(r"\2", _STRONG.sub(r"\2", text))
    text = _SNAKE.sub(" ", text)
    return _ENTITY.sub(_entity, text) if "&" in text else text


def _tag(match: re.Match[str]) -> str:
    alt = _ALT.match(match[0])
    if alt:
        return f" {alt[1] or alt[2] or ''} "
    return " " if _BLOCK.match(match[0]) else ""


def _without_brackets(text: str) -> str:
    text = _FOOTNOTE.sub("", text)
    text = _IMAGE.sub(r"\1", text)
    if _BBCODE.search(text) and "[/" in text:
        text = _BBCODE.sub("", text)
    return _LINK.sub(lambda match: match[1] or match[2], _REFERENCE.sub("", text))


def _entity(match: re.Match[str]) -> str:
    found = html.unescape(match[0])
    return " " if found == "\xa0" else found if found.isprintable() else " "
