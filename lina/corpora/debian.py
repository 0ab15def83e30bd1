"""Debian packages as a source of recordings, fetched and unpacked without root or installation.

A .deb is an ``ar`` archive (deb(5)) whose member ``data.tar.*`` holds the files.
"""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from lina.core.errors import DataError

AR_MAGIC = b"!<arch>\n"
AR_HEADER = 60
LARGEST_PACKAGE = 512 * 1024 * 1024
PURE_PYTHON = (".xz", ".gz", ".bz2", ".tar")


def download(packages: Sequence[str], folder: Path) -> list[Path]:
    """Fetch packages by ``apt-get download``, which checks their signatures and needs no root.

    Raises:
        DataError: There is no apt-get, or it cannot fetch them.
    """
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise DataError(
            f"apt-get is not on this machine, so {names} cannot be fetched; download the .deb files from "
            f"packages.debian.org, put them into one folder and set data.config.path to it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as inbox:
        command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages]
        try:
            done = subprocess.run(command, cwd=inbox, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            raise DataError(
                f"apt-get download {names}: not finished after 10 minutes; check the network"
            ) from None
        fetched = sorted(Path(inbox).glob("*.deb"))
        if done.returncode or len(fetched) != len(packages):
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise DataError(
                f"apt-get download {names}: {lines[-1] if lines else 'gave no files'}; run `apt-get update` "
                "as root once if the package lists are old, and check the network"
            )
        return [Path(shutil.move(package, folder / package.name)) for package in fetched]


def unpack(package: Path, folder: Path, select: Callable[[str], bool]) -> int:
    """Unpack the regular files of a .deb that ``select`` accepts by name into ``folder``; return their number.

    Names are relative, such as ``usr/share/doc/x/copyright``. Links, devices and names that leave the folder
    are not written.

    Raises:
        DataError: The package is damaged, too large, or compressed by a method that this machine lacks.
    """
    written = total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(_data_archive(package)), mode="r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if not member.isfile() or not select(name):
                    continue
                total += member.size
                if total > LARGEST_PACKAGE:
                    raise DataError(
                        f"{package}: unpacks to more than {LARGEST_PACKAGE >> 20} MiB; the package looks damaged"
                    )
                target = folder / name
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise DataError(f"{package}: the file {name!r} would be written outside {folder}")
                content = archive.extractfile(member)
                assert content is not None
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                written += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{package}: cannot be unpacked: {error}; fetch it again") from None
    return written


def unpack_whole(packages: Sequence[Path], folder: Path, prefixes: tuple[str, ...]) -> Path:
    """Unpack the files whose names begin with one of ``prefixes`` to ``folder``/unpacked; return ``folder``.

    Atomic: earlier content is replaced only after every prefix has been found.

    Raises:
        DataError: A package is damaged, or the packages have no file with one of the prefixes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".unpack-"))
    try:
        for package in packages:
            unpack(package, partial, lambda name: name.startswith(prefixes))
        missing = [name for name in prefixes if not (partial / name).exists()]
        if missing:
            raise DataError(
                f"{folder}: the packages hold no {' and no '.join(missing)}; another version of them?"
            )
        target = folder / "unpacked"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _data_archive(package: Path) -> bytes:
    content = package.read_bytes()
    if not content.startswith(AR_MAGIC):
        raise DataError(f"{package}: is not a Debian package; fetch it again")
    offset = len(AR_MAGIC)
    while offset + AR_HEADER <= len(content):
        header = content[offset : offset + AR_HEADER]
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        digits = header[48:58].decode("ascii", "replace").strip()
        if not digits.isdigit():
            break
        start, size = offset + AR_HEADER, int(digits)
        if name.startswith("data.tar"):
            if start + size > len(content):
                raise DataError(f"{package}: is truncated; fetch it again")
            if name.endswith(PURE_PYTHON):
                return content[start : start + size]
            return _data_archive_by_dpkg(package, name)
        offset = start + size + size % 2
    raise DataError(f"{package}: holds no data archive; fetch it again")


def _data_archive_by_dpkg(package: Path, name: str) -> bytes:
    if shutil.which("dpkg-deb") is None:
        raise DataError(
            f"{package}: {name} needs dpkg-deb to unpack; unpack it elsewhere (dpkg-deb -x) and set "
            "data.config.path"
        )
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True)
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()
        raise DataError(f"{package}: dpkg-deb cannot unpack it: {reason}")
    return done.stdout
