"""Checks of files of unknown origin, before they are opened."""

import hashlib
import stat
from pathlib import Path

from lina.core.errors import FileError

SPECIAL_FILES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def check_regular(path: Path) -> int:
    """Size in bytes of a regular file, or of one that a link leads to.

    To be called before a file of unknown origin is opened: opening a pipe waits, and a device has no end.

    Raises:
        FileError: it is a directory, a pipe, a device or a socket.
        OSError: there is no such file, or it may not be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in SPECIAL_FILES if test(status.st_mode)), "a special file")
        raise FileError(path, f"is {kind}, not a regular file")
    return status.st_size


def entry(directory: Path, name: str) -> Path:
    """The file ``name`` in ``directory``, where a file of unknown origin gives the name.

    Raises:
        FileError: the name is a path, and so may lead elsewhere.
    """
    if name in ("", ".", "..") or not name.isprintable() or not {"/", "\\", ":"}.isdisjoint(name):
        raise FileError(directory, f"names {name[:100]!r}, which is no name of a file in this folder")
    return directory / name


def is_inside(path: Path, directory: Path) -> bool:
    """Test if a file lies in ``directory`` after links are followed."""
    return path.resolve().is_relative_to(directory.resolve())


def read_bounded(path: Path, limit: int) -> bytes:
    """Content of a regular file of at most ``limit`` bytes.

    Raises:
        FileError: it is not regular, or larger.
        OSError: it cannot be read.
    """
    size = check_regular(path)
    with path.open("rb") as file:
        content = file.read(limit + 1) if size <= limit else b""
    if size > limit or len(content) > limit:
        raise FileError(path, f"has {size:,} bytes, more than the {limit:,} of any such file")
    return content


def sha256(path: Path) -> str:
    """SHA-256 of a regular file, in hexadecimal.

    Raises:
        FileError: it is not a regular file.
        OSError: it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
