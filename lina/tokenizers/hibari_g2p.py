"""hibari-tts's reader of words, with dictionaries of which only the words that occur are parsed.

Its own loader makes Python objects of 10 MB of JSON, in .3 s and 100 MB. Of the files named here the lexicons are known
to be sorted, so an entry is found by bisection in their text; the tagger's weights are cut into entries, which are
parsed when they are needed. Other files are parsed whole.
"""

import gzip
import hashlib
import importlib
import importlib.util
import json
import logging
import sys
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COPY = "lina.tokenizers.hibari"
"""In lina-voice, the reader and its data without hibari's own voice, copied by ``packaging/lina-voice/setup.py``."""


def _import_g2p() -> Any:
    """Import ``hibari.g2p`` alone: its package loads SciPy and network modules for synthesis, in .1 s or more."""
    if importlib.util.find_spec(COPY) is not None:
        return importlib.import_module(f"{COPY}.g2p")
    if sys.modules.get("hibari") is not None:
        return importlib.import_module("hibari.g2p")
    spec = importlib.util.find_spec("hibari")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'hibari'", name="hibari")
    sys.modules["hibari"] = importlib.util.module_from_spec(spec)  # not executed
    try:
        return importlib.import_module("hibari.g2p")
    finally:
        del sys.modules["hibari"]  # whoever imports it gets all of it


hibari = _import_g2p()
ASSETS = Path(hibari.ASSETS)
KNOWN = {
    "lexicon_us_gold.json.gz": "63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2",
    "lexicon_us_silver.json.gz": "c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3",
    "lexicon_gb_gold.json.gz": "66e675f23eb007d6707d23fe6603ba5e19f3513aefe42e3c8cd6c078a85f2ce0",
    "lexicon_gb_silver.json.gz": "637f887dd557d193af8c106f5c26624850db3e7bf0ec751ba917aac6d75e948d",
    "tagger.json.gz": "d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb",
}
"""SHA-256 of the files of hibari-tts 0.2.1."""
LONGEST = 2000
"""Bytes of an entry of a lexicon, at most."""
WEIGHTS = b',"weights":{"'
GZIP = 31
"""Window bits that make zlib read gzip's format."""

log = logging.getLogger("lina")


class G2P(hibari.G2P):  # type: ignore[misc, name-defined]  # of a package without types
    """``hibari.g2p.G2P`` with the same readings."""

    def __init__(self, british: bool = False) -> None:
        accent = "gb" if british else "us"
        with ThreadPoolExecutor(2) as other:  # unpacking needs no lock of the interpreter
            gold, silver = (
                other.submit(_lexicon, f"lexicon_{accent}_{kind}.json.gz") for kind in ("gold", "silver")
            )
            exceptions = json.loads((ASSETS / "tokenizer_exceptions.json").read_bytes())
            self.tokenizer = hibari.Tokenizer(exceptions)
            self.tagger = hibari.Tagger(_tagger("tagger.json.gz"))
            self.lexicon = hibari.Lexicon(gold.result(), silver.result(), british)
        self.unk, self.british = "", british
        self._oov = None


class SortedEntries:
    """A JSON object of sorted keys without escapes, whose values are strings or flat objects, as its text."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._known: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """The value of a key, or None."""
        if key not in self._known:
            self._known[key] = self._find(key.encode())
        return self._known[key]

    def _find(self, key: bytes) -> Any:
        text, low, high = self._text, 0, len(self._text)
        while low < high:
            middle = (low + high) // 2
            start = self._start(middle)
            end = text.find(b'":', start)
            found = text[start:end]
            if found == key:
                value = text[end + 2 : end + LONGEST].decode(errors="ignore")
                return json.JSONDecoder().raw_decode(value)[0]
            if found < key:
                low = max(middle + 1, end)
            else:
                high = start - len(b',"')
        return None

    def _start(self, place: int) -> int:
        """The first byte of the key of the entry at ``place``."""
        text, comma = self._text, place + 1
        while (comma := text.rfind(b',"', 0, comma + 1)) > 0:
            before = max(1, comma - LONGEST)
            if text.rfind(b"{", before, comma) <= text.rfind(b"}", before, comma):  # not within a value
                break
        return max(comma, 0) + 2


class LazyEntries:
    """A JSON object of flat objects, as the text of each."""

    def __init__(self, text: bytes) -> None:
        """``text``: from the first key's first character to the end of the last value."""
        self._texts = dict([entry.split(b'":{', 1) for entry in text.split(b'},"')])
        self._known: dict[str, dict[str, float] | None] = {}

    def get(self, key: str) -> dict[str, float] | None:
        """The object of a key, or None."""
        if key not in self._known:
            text = self._texts.get(json.dumps(key, ensure_ascii=False)[1:-1].encode())
            self._known[key] = None if text is None else json.loads(b"{" + text + b"}")
        return self._known[key]


def _lexicon(name: str) -> Mapping[str, Any] | SortedEntries:
    text, known = _read(name)
    if known:
        return SortedEntries(text)
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _tagger(name: str) -> dict[str, Any]:
    text, known = _read(name)
    model: dict[str, Any]
    if not known:
        model = json.loads(text)
        return model
    place = text.index(WEIGHTS)
    model = json.loads(text[:place] + b"}")
    return model | {"weights": LazyEntries(text[place + len(WEIGHTS) :].removesuffix(b"}}}"))}


def _read(name: str) -> tuple[bytes, bool]:
    """The text of a file of hibari's, and if it is known."""
    path = ASSETS / name
    packed = path.read_bytes()
    if hashlib.sha256(packed).hexdigest() == KNOWN[name]:
        return zlib.decompress(packed, GZIP), True
    log.debug("%s is of another hibari-tts than 0.2.1; it is parsed whole", path)
    return gzip.decompress(packed), False
