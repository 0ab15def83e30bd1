"""Atomic files: written under a temporary name, forced to disk, then renamed; and the cache folder."""

import hashlib
import os
import re
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path``, unique to this process and recognized by ``remove_temporary``."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def commit(temporary: Path, path: Path) -> None:
    """Give a finished temporary file its final name; after this it survives a power cut."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
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


def remove_temporary(directory: Path) -> None:
    """Delete temporary files that killed writers left in ``directory``."""
    for leftover in directory.glob(".*.part"):
        leftover.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
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
