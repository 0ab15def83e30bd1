"""Wheel and sdist, as a user gets them: complete, and able to speak where no checkout is."""

import subprocess
import sys
import sysconfig
import tarfile
import wave
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder: Path) -> set[str]:
    """Paths of all files of the package, relative to the folder that holds it."""
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from a copy: a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("sdist")
    copytree(ROOT / "lina", folder / "source/lina", ignore=ignore_patterns("__pycache__"))
    for name in SOURCES:
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    build = "import setuptools.build_meta as backend, sys; backend.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, folder, cwd=folder / "source")
    (built,) = folder.glob("lina-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    """The wheel that pip builds from the sdist, as where no wheel is published."""
    folder = sdist.parent
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--wheel-dir", folder, sdist),
        cwd=folder,
    )
    (built,) = folder.glob("lina-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path) -> Path:
    """An environment with the wheel; its other packages are those of the environment of the tests.

    A ``.pth`` file puts them on the path; those that lie there are not read, so an editable lina is not seen.
    """
    folder = wheel.parent / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=wheel.parent)
    python = folder / "bin/python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel),
        cwd=wheel.parent,
    )
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", purelib, cwd=wheel.parent).strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_both_hold_every_file_of_the_package(sdist: Path, wheel: Path) -> None:
    expected = files_below(ROOT / "lina")
    for needed in ("lina/py.typed", "lina/voices/", "lina/codecs/lina/speech-1", ".j2"):
        assert any(needed in name for name in expected), needed
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert expected - inside == set()
    assert set(SOURCES) - inside == set()
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("lina/")} == expected


def test_the_installed_wheel_speaks(environment: Path, tmp_path: Path) -> None:
    program = environment / "bin"
    where = "import lina, importlib.metadata as m; print(lina.__file__); print(m.version('lina'))"
    imported, version = run(program / "python", "-c", where, cwd=tmp_path).split()
    assert Path(imported).is_relative_to(environment)
    assert version == run(program / "lina", "--version", cwd=tmp_path).split()[-1]
    run(program / "lina", "say", "Good morning to everybody.", "-o", "x.wav", cwd=tmp_path)
    with wave.open(str(tmp_path / "x.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2") / 2**15
    assert 0.5 < len(samples) / 24_000 < 10
    assert np.sqrt(np.mean(samples**2)) > 0.01


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel of lina-voice and all packages of the tests but lina and torch."""
    folder = tmp_path_factory.mktemp("voice")
    copytree(ROOT / "lina", folder / "source/lina", ignore=ignore_patterns("__pycache__"))
    copytree(ROOT / "packaging/lina-voice", folder / "source/packaging/lina-voice")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--wheel-dir", folder, folder / "source/packaging/lina-voice"),
        cwd=folder,
    )
    (built,) = folder.glob("lina_voice-*.whl")
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin/python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", built),
        cwd=folder,
    )
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", purelib, cwd=folder).strip())
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if (
            not package.name.startswith(("lina", "torch", "__", "_virtualenv"))
            and not (site / package.name).exists()
        ):
            (site / package.name).symlink_to(package)
    return environment


def test_lina_voice_speaks_without_torch(without_torch: Path, tmp_path: Path) -> None:
    program = without_torch / "bin"
    missing = "import importlib.util as u; print(u.find_spec('torch'))"
    assert run(program / "python", "-c", missing, cwd=tmp_path).strip() == "None"
    run(program / "lina", "say", "Good morning to everybody.", "-o", "x.wav", cwd=tmp_path)
    with wave.open(str(tmp_path / "x.wav")) as sound:
        assert 0.5 < sound.getnframes() / sound.getframerate() < 10
    speak = """
import lina
from lina.tokenizers.english.rule import CHARACTERS
print(lina.load().say('Hi.').shape[0], lina.__version__, CHARACTERS.is_file())
"""
    channels, version, has_characters = run(program / "python", "-c", speak, cwd=tmp_path).split()
    assert (channels, version) == ("1", run(program / "lina", "--version", cwd=tmp_path).split()[-1])
    assert has_characters == "True"
    command = [str(program / "lina"), "say", "Hi.", "--best-of", "2", "-o", "y.wav"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lina: error: this call needs PyTorch, which is not installed")
    assert done.stderr.count("\n") == 1
