"""Texts and characters that the laws of tokenizers try."""

TEXTS = (
    "a",
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog; it cost $3.50 on 12/31/1999 at 10:45 p.m.",
    "  leading, trailing and   inner spaces  ",
    "tabs\tand\nlines\r\nand\x00controls\x07",
    "Mr. Smith's e-mail (smith@example.com) -- see https://example.com/?q=1&r=2 -- isn't here...",
    "na\u00efve caf\u00e9 \u00fcber stra\u00dfe \u00c6ther",
    "e\u0301 decomposed, \u00e9 composed",
    "\u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \ud55c\uad6d\uc5b4",
    "\u0645\u0631\u062d\u0628\u0627 \u200f\u05e9\u05dc\u05d5\u05dd\u200e",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "\ufeffbyte order mark, zero\u200bwidth, soft\u00adhyphen",
    "1234567890" * 5,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "ALL CAPS, then camelCase and snake_case",
    "\u201cquotes\u201d \u2018and\u2019 \u2013 dashes \u2014 and \u2026",
)
"""Ordinary and difficult texts."""


CHARACTERS = tuple(
    [chr(code) for code in range(0x180)]
    + [chr(code) for code in range(0x180, 0xD800, 397)]
    + ["\ud800", "\udfff", "\ue000", "\ufeff", "\ufffd", "\ufffe", "\uffff"]
    + [chr(code) for code in range(0x10000, 0x110000, 40_009)]
    + ["\U0010ffff"]
)
"""Every character of the first blocks and a sample of all others, unpaired surrogates included."""
