"""The ids of a corpus's texts, kept beside its tokens: a tokenizer that looks words up is slower than a codec."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lina.core.files import write_atomic
from lina.core.protocols import Tokenizer
from lina.core.workers import work

AT_ONCE = 256
"""Texts that are one piece of work."""


def encode_corpus_texts(
    texts: Sequence[str], file: Path, key: str, tokenizer: Callable[[], Tokenizer], processes: int = 1
) -> list[list[int]]:
    """Ids of each text; read from ``file`` if it was written for the same ``key``, else made and written there.

    ``key`` says what the ids depend on: the tokenizer, its version, what it has learnt, the texts.
    """
    known = _read(file, key)
    if known is not None and len(known) == len(texts):
        return known
    pieces = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    with closing(work(pieces, _encode, tokenizer, processes, _name)) as encoded:
        made = [ids for piece in encoded for ids in piece]
    offsets = np.cumsum([0, *(len(ids) for ids in made)], dtype=np.int64)
    joined = np.array([one for ids in made for one in ids], dtype=np.int32)
    write_atomic(file, save({"ids": joined, "offsets": offsets}, metadata={"key": key}))
    return made


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [tokenizer.parallel_forward(text) for text in texts]


def _name(texts: Sequence[str]) -> str:
    return f"{len(texts)} texts from {texts[0][:40]!r} on"


def _read(file: Path, key: str) -> list[list[int]] | None:
    try:
        with safe_open(file, framework="numpy") as stored:
            if (stored.metadata() or {}).get("key") != key:
                return None
            ids, offsets = stored.get_tensor("ids"), stored.get_tensor("offsets")
    except (OSError, SafetensorError):
        return None
    return [part.tolist() for part in np.split(ids, offsets[1:-1])]
