"""Copy of a spec's lexicon in a run directory or a voice, so that both are self-contained.

The name has the SHA-256 of the content: ``lexicon-HASH.tsv``.
"""

import hashlib
from pathlib import Path

from lina.core.errors import CheckpointError, TextError
from lina.core.files import write_atomic

PATTERN = "lexicon-*.tsv"
DIGITS = 16
"""Hexadecimal digits of the SHA-256 in the name."""


def copy_lexicon(source: Path | None, directory: Path) -> Path | None:
    """Copy a lexicon into ``directory`` in place of any former copy; None removes it.

    Raises:
        TextError: the lexicon cannot be read.
    """
    copy = None
    if source is not None:
        try:
            content = source.read_bytes()
        except OSError as error:
            raise TextError(f"synthesize.lexicon: {source}: cannot be read: {error.strerror}") from None
        copy = directory / f"lexicon-{_digest(content)}.tsv"
        write_atomic(copy, content)
    for former in directory.glob(PATTERN):
        if former != copy:
            former.unlink()
    return copy


def lexicon_of(directory: Path, source: Path | None) -> Path | None:
    """The lexicon of a run or voice: its copy; ``source``, the path in its spec, if it is older than such copies.

    Raises:
        CheckpointError: the copy is damaged.
    """
    if source is None:
        return None
    for copy in sorted(directory.glob(PATTERN)):
        if copy.name != f"lexicon-{_digest(copy.read_bytes())}.tsv":
            raise CheckpointError(f"{copy}: is damaged (its SHA-256 is not the one in its name); restore it")
        return copy
    return source


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
