"""Copy of a spec's lexicon in a run directory or a voice, so that both are self-contained.

The name has the SHA-256 of the content: ``lexicon-HASH.tsv``.
"""

import hashlib
from pathlib import Path
from typing import Any

from lina.config.sections import SynthesizeSection
from lina.core.errors import CheckpointError, FileError, TextError
from lina.core.files.atomic import write_atomic
from lina.core.files.checks import is_inside, read_bounded
from lina.core.text.lexicon import LARGEST

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
            content = read_bounded(source, LARGEST)
        except FileError as error:
            raise TextError(f"synthesize.lexicon: {error}") from None
        except OSError as error:
            former = next(directory.glob(PATTERN), None)
            hint = "" if former is None else f"; restore it, for example from the run's copy {former}"
            raise TextError(f"synthesize.lexicon: {source}: cannot be read: {error.strerror}{hint}") from None
        copy = directory / f"lexicon-{_digest(content)}.tsv"
        write_atomic(copy, content)
    for former in directory.glob(PATTERN):
        if former != copy:
            former.unlink()
    return copy


def lexicon_of(directory: Path, source: Path | None) -> Path | None:
    """The lexicon of a run or voice: its copy, or ``source``, the path in its spec, if that lies in it.

    Raises:
        CheckpointError: the copy is damaged, or there is none: a foreign spec could name any file of this machine.
    """
    if source is None:
        return None
    for copy in sorted(directory.glob(PATTERN)):
        if copy.name != f"lexicon-{_digest(read_bounded(copy, LARGEST))}.tsv":
            raise CheckpointError(f"{copy}: is damaged (its SHA-256 is not the one in its name); restore it")
        return copy
    if not is_inside(source, directory):
        raise CheckpointError(
            f"{directory}: has no copy of its lexicon {source.name}; run its spec again, or pass it with --lexicon"
        )
    return source


def speaking_identity(section: SynthesizeSection, lexicon: Path | None) -> dict[str, Any]:
    """The settings of a voice's synthesis as inputs of stages, without the texts; its lexicon counts by its content.

    Raises:
        TextError: the lexicon cannot be read.
    """
    options = section.model_dump(mode="json", exclude={"texts", "lexicon"})
    try:
        return options | {"lexicon": None if lexicon is None else _digest(lexicon.read_bytes())}
    except OSError as error:
        raise TextError(f"synthesize.lexicon: {lexicon}: cannot be read: {error.strerror}") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
