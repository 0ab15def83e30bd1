"""Cached ids of a corpus's texts: a tokenizer with a pronunciation lexicon is slower than a codec."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lina.core.files.atomic import write_atomic
from lina.core.process.workers import work
from lina.core.protocols import Tokenizer
from lina.core.text.contract import read_ids

AT_ONCE = 256
"""Texts per task of a worker process."""


def encode_corpus_texts(
    texts: Sequence[str], file: Path, key: str, tokenizer: Callable[[], Tokenizer], workers: int = 1
) -> list[list[int]]:
    """Ids of each text, read from ``file`` if it was written for the same ``key``, else encoded and written there.

    ``key`` identifies the inputs: the tokenizer, its version and training, the texts.
    """
    known = _read(file, key)
    if known is not None and len(known) == len(texts):
        return known
    pieces = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    with closing(work(pieces, _encode, tokenizer, workers, _name)) as encoded:
        texts_ids = [ids for piece in encoded for ids in piece]
    offsets = np.cumsum([0, *(len(ids) for ids in texts_ids)], dtype=np.int64)
    joined = np.array([one for ids in texts_ids for one in ids], dtype=np.int32)
    write_atomic(file, save({"ids": joined, "offsets": offsets}, metadata={"key": key}))
    return texts_ids


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [read_ids(tokenizer, text) for text in texts]


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
