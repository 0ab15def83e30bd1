import os
from pathlib import Path

import pytest

from lina.core.files import atomic, checks


def test_write_atomic(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_atomic(path, b"one")
    atomic.write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "a"
    atomic.write_atomic(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, refuse)
    with pytest.raises(OSError, match="No space left"):
        atomic.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.temporary_name(path).write_bytes(b"half")
    path.write_bytes(b"whole")
    (tmp_path / ".hidden").write_bytes(b"mine")
    atomic.remove_temporary(tmp_path)
    assert sorted(found.name for found in tmp_path.iterdir()) == [".hidden", "a.json"]


def test_processes_of_equal_number_on_two_hosts_have_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for host in ("node-1", "node-2"):
        monkeypatch.setattr("platform.node", lambda host=host: host)
        names.add(atomic.temporary_name(tmp_path / "a"))
    assert len(names) == 2


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert checks.sha256(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")
