"""Atomic files: written under a temporary name, forced to disk, then renamed; and checks before opening."""

import contextlib
import errno
import hashlib
import os
import re
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


_unfinished: set[Path] = set()
"""Temporary names of this process that have not become final."""


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path``, unique to this process and recognized by ``remove_temporary``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
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


def file_name(id: str) -> str:
    """The id if it is safe as a file name, else its safe characters and a digest that keeps names unique."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", id)[:60]
    return name if name == id else f"{name}-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def cache_folder() -> Path:
    """Folder of fetched corpora and models: ``$LINA_CACHE``, or ``lina`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get("LINA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lina"
