"""A disk that loses unsynced writes: a power cut at the n-th sync or rename, as SQLite's crash tests do.

Durable are the content of a file when it was last synced, and the entries of a directory when that was last synced. A
synced entry of a file that was never synced is an empty file.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest


class PowerCut(BaseException):
    """The machine is off."""


class Disk:
    """Records what is durable below ``root``, whose present state is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        self.entries: dict[int, dict[str, int]] = {}
        self._pins: list[int] = []
        for path in [root, *root.rglob("*")]:
            self._sync(path)

    def _sync(self, path: Path) -> None:
        pin = os.open(path, os.O_RDONLY)  # as long as it is open, no other file gets its inode
        self._pins.append(pin)
        number = os.fstat(pin).st_ino
        if path.is_dir():
            self.entries[number] = {one.name: one.lstat().st_ino for one in path.iterdir()}
        else:
            self.contents[number] = path.read_bytes()

    def sync(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_relative_to(self.root):
            self._sync(path)

    def after_the_cut(self, target: Path) -> Path:
        """Write the durable state to ``target``."""
        self._restore(self.root.stat().st_ino, target)
        for pin in self._pins:
            os.close(pin)
        return target

    def _restore(self, number: int, target: Path) -> None:
        target.mkdir()
        for name, child in self.entries.get(number, {}).items():
            if child in self.contents:
                (target / name).write_bytes(self.contents[child])
            elif child in self.entries or self._was_directory(child):
                self._restore(child, target / name)
            else:
                (target / name).write_bytes(b"")

    def _was_directory(self, number: int) -> bool:
        return any(path.is_dir() and path.stat().st_ino == number for path in self.root.rglob("*"))


@contextmanager
def cut_at(root: Path, nth: int, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Cut the power before the ``nth`` sync, rename or deletion of a file; the exception ends at the context."""
    disk = Disk(root)
    left = nth

    def counting(real: Any, sync: bool = False) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise PowerCut
            if left < 0:  # nothing happens on a machine that is off
                return None
            result = real(*arguments, **options)
            if sync:
                disk.sync(arguments[0])
            return result

        return call

    with patch.context() as patched:
        patched.setattr(os, "fsync", counting(os.fsync, sync=True))
        for name in ("replace", "rename", "unlink", "rmdir"):
            patched.setattr(os, name, counting(getattr(os, name)))
        with suppress(PowerCut):
            yield disk
