"""Names of signs, and reduction of punctuation to a few marks."""

import re

from lina.tokenizers.english.rule import Rule, Style, always

SIGN_NAMES = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "%": "percent", "#": "hash", "<": "less than",
    ">": "greater than", "~": "about", "^": "caret", "\\": "backslash",
    "§": "section", "©": "copyright", "®": "registered",
    "™": "trademark", "¶": "paragraph", "×": "times", "÷": "divided by", "±": "plus or minus", "≈": "about",
    "≠": "does not equal", "≤": "at most", "≥": "at least", "∞": "infinity", "√": "the square root of", "−": "minus",
    "∑": "sum", "→": "to", "←": "from", "⇒": "implies", "µ": "micro",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
    "Γ": "gamma", "Δ": "delta",
    "Θ": "theta", "Λ": "lambda", "Ξ": "xi", "Π": "pi", "Σ": "sigma", "Φ": "phi", "Ψ": "psi", "Ω": "omega",
    "°": "degrees", "℃": "degrees Celsius", "℉": "degrees Fahrenheit",
    "²": "squared", "³": "cubed", "¹": "", "¢": "cents", "†": "", "‡": "", "•": ",", "·": "", "¡": "", "¿": "",
    "$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee",
    "₩": "won", "₽": "ruble", "₿": "bitcoin", "‰": "per mille",
    "_": "", "*": "", "|": ",", "`": "", "{": "(", "}": ")", "[": "(", "]": ")", "/": "slash",
}  # fmt: skip


def _sign_name(match: re.Match[str], style: Style) -> str:
    return SIGN_NAMES[match[0]]


def _either(match: re.Match[str], style: Style) -> str:
    """``and/or`` as ``and or``, ``he/she`` as ``he or she``."""
    words = match[0].split("/")
    return " ".join(words) if "or" in words else " or ".join(words) if len(words) == 2 else ", ".join(words)


def _sharp(match: re.Match[str], style: Style) -> str:
    return f"{match[1]} sharp"


def _repeated(match: re.Match[str], style: Style) -> str:
    """``!!!`` as ``!``, ``?!?!`` as ``?!``."""
    return "".join(dict.fromkeys(match[0]))


RULES: tuple[Rule, ...] = (
    Rule(r"[A-Z]?[a-z]{1,30}+(?:/[A-Z]?[a-z]{1,30}+){1,5}(?![\w/])", _either),
    Rule(r"(?<=\d)\s?\*\s?(?=\d)|(?<=\s)\*(?=\s)", always("times")),
    Rule(r"(?<=\))\^2(?!\d)", always(" squared")),
    Rule(r"(?<=\))\^3(?!\d)", always(" cubed")),
    Rule(r"(?<=\w)(?:\*\*|\^)(?=-?\d|[A-Za-z]\b)", always("to the power of")),
    Rule(r"(?:(?<=\w\w )|(?<=\w\. ))/(?= \w)(?!\s\d[^.!?]{0,20}=)", always(",")),
    Rule(r"(?<=\w )[≤≥](?= )", lambda match, style: f"is {SIGN_NAMES[match[0]]}"),
    Rule(r"(?<=\d[AaPp][Mm])\s?[-–]\s?(?=\d)", always("to")),
    Rule(r"([CF])#(?!\w)", _sharp),
    Rule(r"(?<=[\w)])\s?/\s?(?=\d)", always(" over ")),
    Rule(r"(?:[-=]|--)>", always("to")),
    Rule(r"\.{3,}|…[.…]*|\.(?:\s\.){2,}", always("…")),
    Rule(r"-{2,}|[―‒⸺]+|(?<=\s)-(?=\s)", always("—")),
    Rule(r"[-=_*~#]{3,}", always("")),
    Rule(r"[!?]{2,}|,{2,}|;{2,}|:{2,}|\.{2}", _repeated),
    Rule(r"[" + re.escape("".join(SIGN_NAMES)) + "]", _sign_name),
)
