"""Atomic files: written under a temporary name, forced to disk, then renamed."""

import contextlib
import errno
import os
import platform
from pathlib import Path

_unfinished: set[Path] = set()
"""Temporary names of this process that have not become final."""


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path``, unique to this process and recognized by ``remove_temporary``.

    Hosts that share a file system may have processes of equal numbers, so it names the host, too.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.part")
    _unfinished.add(temporary)
    return temporary


def remove_unfinished() -> None:
    """Delete the temporary files of this process at its end: a signal may come between any two instructions."""
    for temporary in list(_unfinished):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _unfinished.clear()


def commit(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its final name; after this it survives a power cut."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _unfinished.discard(temporary)
    sync_directory(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: the disk refuses; nothing is left behind and an old ``path`` is untouched.
    """
    temporary = temporary_name(path)
    try:
        temporary.write_bytes(content)
        commit(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Force a directory's entries to disk, so that a rename in it lasts. Windows has no such call."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, *, parents: bool = False) -> None:
    """Create a directory unless it exists, and its ``parents`` if so set; after this they survive a power cut.

    Raises:
        OSError: it cannot be created, or a parent is missing.
    """
    if path.is_dir():
        return
    if parents:
        try:
            make_directory(path.parent, parents=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def remove_temporary(directory: Path) -> None:
    """Delete temporary files that killed writers left in ``directory``."""
    for leftover in directory.glob(".*.part"):
        leftover.unlink(missing_ok=True)
