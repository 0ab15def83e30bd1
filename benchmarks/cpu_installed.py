"""Installed size of lina-voice: its wheel, built from this tree, and all that pip installs with it by default.

Needs a package index. Other Pythons and machines are measured without running them: pip unpacks their wheels.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT = 150_000_000
"""Bytes of files without bytecode that lina-voice takes at most."""
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
LINUX = ("manylinux_2_28_{}", "manylinux_2_27_{}", "manylinux2014_{}")
PLATFORMS = {
    "Linux x86-64": tuple(one.format("x86_64") for one in LINUX),
    "Linux arm64": tuple(one.format("aarch64") for one in LINUX),
    "macOS arm64": ("macosx_14_0_arm64",),
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLACES = [
    *((python, "Linux x86-64") for python in PYTHONS),
    *(("3.11", platform) for platform in PLATFORMS if platform != "Linux x86-64"),
]
"""Pythons and platforms that are measured."""


class PipError(Exception):
    """A call of pip failed."""


def installed_rows() -> Iterator[dict[str, Any]]:
    """Sizes by Python and platform; with bytecode for the Python that runs this."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        own = Path(folder, "own")
        install(wheel, own)
        yield row(f"as pip installs it here, Python {OWN}", own) | {
            "megabytes_with_bytecode": bytes_of(files_below(own, bytecode=True)) / 1e6
        }
        for python, platform in PLACES:
            target = Path(folder, f"{python} {platform}")
            install_for(python, platform, wheel, target)
            yield row(f"Python {python}, {platform}", target)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of lina-voice in ``folder``, from a copy of its sources, with the packages that are here."""
    source = folder / "source"
    copytree(ROOT / "lina", source / "lina", ignore=ignore_patterns("__pycache__"))
    copytree(ROOT / "packaging/lina-voice", source / "packaging/lina-voice")
    _pip(
        "wheel",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        source / "packaging/lina-voice",
    )
    (built,) = folder.glob("lina_voice-*.whl")
    return built


def install(wheel: Path, target: Path) -> None:
    """Install a wheel and what it requires into an empty folder, as by default."""
    _pip("install", "--target", target, wheel)


def install_for(python: str, platform: str, wheel: Path, target: Path) -> None:
    """Install what pip of another Python would choose on another platform, without bytecode."""
    choice = ["--only-binary", ":all:", "--python-version", python]
    for one in PLATFORMS[platform]:
        choice += ["--platform", one]
    with (
        tempfile.TemporaryDirectory() as wheels
    ):  # pip's install would hold the packages to the Python that runs it
        _pip("download", "--dest", wheels, *choice, wheel)
        chosen = sorted(Path(wheels).iterdir())
        _pip(
            "install",
            "--target",
            target,
            "--no-deps",
            "--no-compile",
            "--ignore-requires-python",
            *choice,
            *chosen,
        )


def row(name: str, folder: Path) -> dict[str, Any]:
    """Sizes of what a folder holds: files, the space that a disk gives them and their folders, and by package."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    files = list(files_below(folder))
    size = bytes_of(files)
    return {
        "part": "installed",
        "name": f"lina-voice, {name}",
        "megabytes": size / 1e6,
        "within_limit": size <= LIMIT,
        "disk_mebibytes": sum(512 * os.stat(path).st_blocks for path in (*files, *folders)) / 2**20,
        "packages": {
            f"{one.name} {one.version}": bytes_of(package_files(one)) / 1e6
            for one in sorted(distributions(path=[str(folder)]), key=lambda one: one.name)
        },
    }


def package_files(package: Distribution) -> Iterator[Path]:
    """The files of an installed package, without bytecode."""
    for file in package.files or ():
        if file.suffix != ".pyc":
            yield Path(str(package.locate_file(file)))


def files_below(folder: Path, bytecode: bool = False) -> Iterator[Path]:
    """The files of a folder; without bytecode unless it is asked for."""
    for path in folder.rglob("*"):
        if path.is_file() and (bytecode or path.suffix != ".pyc"):
            yield path


def bytes_of(files: Iterable[Path]) -> int:
    """Sum of the lengths of those files that are there."""
    return sum(path.stat().st_size for path in files if path.is_file())


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipError(f"{' '.join(command[2:])} failed: {' '.join(done.stderr.split())[-2000:]}")
