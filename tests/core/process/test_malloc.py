import ctypes
import sys
from typing import Any

import pytest

from lina.core.process.malloc import keep_freed_memory


def test_glibc_is_set_to_keep_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """M_MMAP_MAX 0, M_TRIM_THRESHOLD as large as an int, M_TOP_PAD 64 MiB (malloc.h)."""
    options: list[tuple[int, int]] = []

    class Library:
        def __init__(self, name: str) -> None:
            assert name == "libc.so.6"

        @staticmethod
        def mallopt(option: int, value: int) -> int:
            options.append((option, value))
            return 1

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert keep_freed_memory()
    assert options == [(-4, 0), (-1, 2**31 - 1), (-2, 2**26)]


@pytest.mark.parametrize("error", [OSError("no such library"), AttributeError("no mallopt")])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def missing(name: str) -> Any:
        raise error

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not keep_freed_memory()


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("touched the C library"))
    assert not keep_freed_memory()
