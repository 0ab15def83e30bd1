import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lina.core.errors import DataError
from lina.corpora import debian

from .packages import deb, package, tar


def everything(name: str) -> bool:
    return True


def unpack(tmp_path: Path, content: bytes, select: Callable[[str], bool] = everything) -> int:
    path = tmp_path / "a.deb"
    path.write_bytes(content)
    return debian.unpack(path, tmp_path / "out", select)


def test_wanted_files_only(tmp_path: Path) -> None:
    content = package({"./usr/a": b"A", "./usr/b/c": b"C" * 3, "./etc/d": b"D"})
    assert unpack(tmp_path, content, lambda name: name.startswith("usr/")) == 2
    assert (tmp_path / "out/usr/b/c").read_bytes() == b"CCC"
    assert not (tmp_path / "out/etc").exists()


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_links_and_devices_are_not_written(tmp_path: Path) -> None:
    files: dict[str, bytes | tarfile.TarInfo] = {
        "link": member("link", tarfile.SYMTYPE, "/etc"),
        "hard": member("hard", tarfile.LNKTYPE, "a"),
        "pipe": member("pipe", tarfile.FIFOTYPE),
        "link/passwd": b"under what would have been a link",
    }
    assert unpack(tmp_path, package(files)) == 1
    assert (tmp_path / "out/link").is_dir()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "usr/../../evil"])
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="would be written outside"):
        unpack(tmp_path, package({name: b"x"}))
    assert not (tmp_path / "evil").exists()


GOOD = package({"a": b"A" * 5_000})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a Debian package"),
        (b"<html>not found</html>", "is not a Debian package"),
        (GOOD[:-40], "is truncated"),
        (GOOD[:100], "holds no data archive"),
        (deb({"debian-binary": b"2.0\n"}), "holds no data archive"),
        (deb({"data.tar.xz": b"not an archive"}), "cannot be unpacked"),
        (deb({"data.tar.xz": tar({"a": b"A" * 5_000})[:-60]}), "cannot be unpacked"),
        (GOOD[:56] + b"x" * 20 + GOOD[76:], "holds no data archive"),
    ],
)
def test_damaged_packages(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        unpack(tmp_path, content)


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "LARGEST_PACKAGE", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        unpack(tmp_path, package({"a": bytes(1 << 19), "b": bytes((1 << 19) + 1)}))


def test_other_compression_asks_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = deb({"data.tar.zst": b"(zstandard)"})
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError, match=r"data.tar.zst needs dpkg-deb to unpack"):
        unpack(tmp_path, content)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/dpkg-deb")
    outcome = subprocess.CompletedProcess([], 0, tar({"a": b"A"}, compress=bytes), b"")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: outcome)
    assert unpack(tmp_path, content) == 1
    outcome.returncode, outcome.stderr = 2, b"bad archive\n"
    with pytest.raises(DataError, match="dpkg-deb cannot unpack it: bad archive"):
        unpack(tmp_path, content)


def fake_apt(
    monkeypatch: pytest.MonkeyPatch, code: int = 0, stderr: str = "", files: tuple[str, ...] = ("one_1.deb",)
) -> None:
    def run(command: list[str], cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
        assert command[:2] == ["apt-get", "download"]
        for name in files:
            with open(f"{cwd}/{name}", "wb") as file:
                file.write(GOOD)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", run)


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(monkeypatch)
    assert debian.download(["one"], tmp_path / "new") == [tmp_path / "new/one_1.deb"]
    assert debian.download(["one"], tmp_path / "new") == [tmp_path / "new/one_1.deb"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one_1.deb"]


def test_download_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(monkeypatch, 100, "W: something\nE: Unable to locate package one\n", files=())
    with pytest.raises(
        DataError, match=r"download one: E: Unable to locate package one; run `apt-get update`"
    ):
        debian.download(["one"], tmp_path)
    fake_apt(monkeypatch)
    with pytest.raises(DataError, match="apt-get download one two: gave no files"):
        debian.download(["one", "two"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, timeout: float, **options: Any) -> None:
        raise subprocess.TimeoutExpired("apt-get", timeout)

    fake_apt(monkeypatch)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataError, match="not finished after 10 minutes"):
        debian.download(["one"], tmp_path)


def test_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(
        DataError, match=r"apt-get is not on this machine, so one cannot be fetched; download the"
    ):
        debian.download(["one"], tmp_path)
