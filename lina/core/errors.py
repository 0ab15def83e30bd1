"""Errors of users and plugins: one line with the mistake, its place and the remedy."""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


SYSTEM_ERRORS = (
    *(
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ESTALE,
    ),
    *(
        errno.ENOENT,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENOTEMPTY,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    ),
    *(errno.EMFILE, errno.ENFILE, errno.EXDEV),
)
"""Error numbers of full and failing disks, and of files that another program changes meanwhile: no bugs of lina."""


class LinaError(Exception):
    """A mistake that the user can fix. The command line prints its one line and exits with its code."""

    exit_code = 2


class SpecError(LinaError):
    """A spec names an unknown key, holds a wrong value, or does not fit together."""


class PluginError(LinaError):
    """A plugin is unknown, broken, named twice, or breaks its contract."""


class ContractError(PluginError):
    """A result of a plugin is not that of its protocol."""


class DataError(LinaError):
    """A corpus, an audio file or a manifest cannot be used."""


class TextError(LinaError):
    """A text cannot be spoken: empty, too long, or with characters the tokenizer refuses (the message names them)."""


class CheckpointError(LinaError):
    """A checkpoint or a run directory is missing, damaged, or belongs to another spec."""


class FileError(LinaError):
    """A file that cannot be used as its format demands; ``reason`` is the message without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type["FileError"], tuple[Path, str]]:
        """Make the error picklable for worker processes."""
        return type(self), (self.path, self.reason)


def is_failure(error: BaseException) -> bool:
    """Test for an ``Exception``, or a panic of a Rust extension, which is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def is_out_of_memory(error: BaseException) -> bool:
    """Test for memory that ran out: Python's error, PyTorch's of a GPU, and that of its allocator on the CPU."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def out_of_memory(error: BaseException) -> LinaError:
    """The line for a user whose memory ran out at a place that knows no better remedy."""
    return LinaError(
        f"out of memory ({one_line(error)}); use fewer workers, shorter texts or smaller batches, or end other "
        "programs, and run the same command again"
    )


def one_line(error: BaseException) -> str:
    """First line of an error's message, without PyTorch's advice, or the error's type."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    sentence = lines[0].partition(". ")[0]
    return sentence if len(sentence) <= 160 else f"{sentence[:157]}..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A closing clause such as ``; did you mean 'gla'? (known: gla, transformer)``, empty if nothing is known."""
    names = sorted(known)
    if not names:
        return ""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} (known: {', '.join(names)})"


def first_reason(error: "ValidationError") -> str:
    """First violation in a file: its field, if any, and the reason, without the value found."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    reason = "is missing" if first["type"] == "missing" else first["msg"]
    return f"{field}: {reason}" if field else reason
