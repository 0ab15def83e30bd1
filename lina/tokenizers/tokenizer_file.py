"""Files of the ``tokenizers`` library (JSON), as far as they can be encoded as a stream of words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from lina.core.errors import FileError, SpecError
from lina.core.files.json_file import read_json

Document = dict[str, Any]
LARGEST = 10_000_000
"""Bytes of a vocabulary; vocabularies of large language models have up to 9 million."""
LONGEST_ENTRY = 1_000
"""Characters of an entry. The library's automaton of added tokens takes some 80 bytes for each of theirs."""
MOST_ADDED = 10_000
"""Added tokens."""
UNUSED = ("truncation", "padding", "decoder")
"""Parts of a document that lina has no use for; the library is not given them."""


def read_document(path: Path) -> Any:
    """Read a tokenizers-format JSON file.

    Raises:
        SpecError: the file cannot be read, or is not JSON.
    """
    try:
        return read_json(path, limit=LARGEST)
    except FileError as error:
        _refuse(str(path), f"{error.reason}; pass a tokenizers-format JSON file")
    except OSError as error:
        _refuse(
            str(path), f"cannot be read ({error.strerror}); pass the path of a tokenizers-format JSON file"
        )


def for_library(document: Any, where: str) -> Document:
    """A document without the parts that lina does not use, after what the library must not see has been refused.

    The library builds a normalizer as it reads, and some contents of foreign ones make it panic; and it builds tables
    of the entries, whose size is a multiple of theirs.

    Raises:
        SpecError: the message names the normalizer or the entry.
    """
    if not isinstance(document, dict):
        _refuse(where, "is no tokenizers-format JSON: it is no object")
    _check_entries(document, where)
    pending = [document.get("normalizer")]
    while pending:
        part = pending.pop()
        if part is None:
            continue
        kind = part.get("type") if isinstance(part, dict) else part
        if isinstance(part, dict) and kind == "Sequence" and isinstance(part.get("normalizers"), list):
            pending += part["normalizers"]
        elif kind != "Lowercase":
            _refuse(where, f"has the normalizer {str(kind)[:40]!r}; only 'Lowercase' is supported")
    return {name: part for name, part in document.items() if name not in UNUSED}


def _check_entries(document: Document, where: str) -> None:
    model, added = document.get("model"), document.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    tokens = added if isinstance(added, list) else []
    if len(tokens) > MOST_ADDED:
        _refuse(where, f"has {len(tokens):,} added tokens; at most {MOST_ADDED:,} are supported")
    contents = [token.get("content") for token in tokens if isinstance(token, dict)]
    for entry in (*(vocabulary if isinstance(vocabulary, dict) else ()), *contents):
        if isinstance(entry, str) and len(entry) > LONGEST_ENTRY:
            _refuse(
                where,
                f"has an entry of {len(entry):,} characters, which begins with {entry[:20]!r}; "
                f"at most {LONGEST_ENTRY:,} are supported",
            )


def check_document(document: Document, where: str) -> None:
    """Refuse features that lina would encode differently from the library, which has written ``document``.

    The model must be byte-pair encoding, the only normalizer lower-casing, and the pre-tokenizers must split at
    blanks, so that a word never depends on its neighbors.

    Raises:
        SpecError: a part is not supported; the message names it.
    """
    model, vocabulary = document["model"], document["model"].get("vocab")
    if model.get("type") != "BPE":
        _refuse(where, f"has a model of type {model.get('type')!r}; only 'BPE' is supported")
    for name in (
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "byte_fallback",
        "ignore_merges",
    ):
        if model.get(name):
            _refuse(where, f"has {name} {model[name]!r} in its model, which is not supported")
    if not vocabulary:
        _refuse(where, "has an empty vocabulary")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        _refuse(where, f"does not number its {len(vocabulary)} entries 0 .. {len(vocabulary) - 1}")
    for added in document["added_tokens"]:
        if vocabulary.get(added["content"]) != added["id"]:
            _refuse(where, f"has the added token {added['content']!r} outside its vocabulary, not supported")
        if not added["special"]:
            _refuse(where, f"has the added token {added['content']!r} that is not special, not supported")
    if processor := document["post_processor"]:
        _refuse(where, f"has the post-processor {processor['type']!r}; lina sets the marks itself")
    for normalizer in _parts(document["normalizer"], "normalizers"):
        if normalizer["type"] != "Lowercase":
            _refuse(where, f"has the normalizer {normalizer['type']!r}; only 'Lowercase' is supported")
    pre_tokenizers = list(_parts(document["pre_tokenizer"], "pretokenizers"))
    for part in pre_tokenizers:
        if not (_splits_blanks(part) or part == {"type": "Punctuation", "behavior": "Isolated"}):
            _refuse(where, f"has the pre-tokenizer {json.dumps(part)}, which is not supported")
    if not any(map(_splits_blanks, pre_tokenizers)):
        _refuse(where, "has no pre-tokenizer that splits at blanks, which streaming needs")
    if is_byte_level(document):
        if len(pre_tokenizers) > 1:
            _refuse(where, "has the pre-tokenizer 'ByteLevel' among others; it is supported alone")
        if missing := set(BYTE_OF) - set(vocabulary):
            _refuse(where, f"is byte-level but lacks {len(missing)} of the 256 bytes in its vocabulary")


def is_byte_level(document: Document) -> bool:
    """Test if the vocabulary is written in the letters of ``BYTE_OF``."""
    parts = _parts(document["pre_tokenizer"], "pretokenizers")
    return any(part["type"] == "ByteLevel" for part in parts)


def _parts(part: Document | None, inside: str) -> Iterator[Document]:
    if part is None:
        return
    if part["type"] != "Sequence":
        yield part
        return
    for child in part[inside]:
        yield from _parts(child, inside)


def _splits_blanks(part: Document) -> bool:
    match part:
        case {"type": "ByteLevel"}:
            return not part["add_prefix_space"] and bool(part["use_regex"])
        case {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated" | "Removed"}:
            return not part["invert"]
        case {"type": "CharDelimiterSplit", "delimiter": " "}:
            return True
        case {"type": "WhitespaceSplit" | "Whitespace"}:
            return True
    return False


def _byte_letters() -> dict[str, int]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


BYTE_OF = _byte_letters()
"""Letter -> byte that it stands for in byte-level vocabularies (GPT-2; Radford et al. 2019)."""


def _refuse(where: str, why: str) -> NoReturn:
    raise SpecError(f"{where} {why}")
