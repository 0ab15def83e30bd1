"""Wheel and sdist, as a user gets them: complete, and able to speak where no checkout is."""

import subprocess
import sys
import sysconfig
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.cpu_installed import build_wheel

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


REQUIRED = {"numpy", "onnxruntime", "pydantic", "click"}
"""Packages that lina-voice requires, and no others: each of them is megabytes (docs/cpu.md)."""
LARGEST_WHEEL = 28_000_000
"""Bytes of the files of lina-voice's wheel, of which its voice has 18.4 million and the reader of words 8.2."""


@pytest.fixture(scope="module")
def voice_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def without_torch(voice_wheel: Path) -> Path:
    """An environment with the wheel of lina-voice, what it requires and what that requires: nothing else."""
    folder = voice_wheel.parent
    environment = folder / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=folder)
    python = environment / "bin/python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", voice_wheel),
        cwd=folder,
    )
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", purelib, cwd=folder).strip())
    here = Path(sysconfig.get_path("purelib"))
    (voice,) = (one for one in distributions(path=[str(site)]) if one.name == "lina-voice")
    for one in required(voice):
        for name in {file.parts[0] for file in one.files or () if file.parts[0] != ".."}:
            if not (site / name).exists():
                (site / name).symlink_to(here / name)
    return environment


def required(package: Distribution) -> Iterator[Distribution]:
    """The requirements of a package by default, and theirs, as they are installed here."""
    known, left = {package.name}, [package]
    while left:
        for line in left.pop().requires or ():
            need = Requirement(line)
            name = canonicalize_name(need.name)
            if name not in known and (need.marker is None or need.marker.evaluate({"extra": ""})):
                known.add(name)
                left.append(distribution(name))
                yield left[-1]


def test_lina_voice_holds_no_more_than_it_needs(voice_wheel: Path) -> None:
    with zipfile.ZipFile(voice_wheel) as archive:
        names = archive.namelist()
        assert sum(one.file_size for one in archive.infolist()) < LARGEST_WHEEL
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    needs = {Requirement(line.partition(": ")[2]).name for line in lines if line.startswith("Requires-Dist")}
    assert needs == REQUIRED
    assert not any("hibari.onnx" in name or "encoder" in name or name.startswith("hibari/") for name in names)
    for needed in ("LICENSE", "NOTICE", "g2p/lexicon.py", "assets/oov.onnx", "assets/oov_gb.onnx"):
        assert f"lina/tokenizers/hibari/{needed}" in names


def test_lina_voice_is_built_from_this_tree_alone(tmp_path: Path) -> None:
    copytree(ROOT / "lina", tmp_path / "lina", ignore=ignore_patterns("__pycache__", "voices"))
    source = tmp_path / "packaging/lina-voice"
    copytree(ROOT / "packaging/lina-voice", source, ignore=ignore_patterns("build"))
    earlier = source / "build/lib/lina/core/earlier.py"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("import torch\n")
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", tmp_path)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=tmp_path)
    (built,) = tmp_path.glob("lina_voice-*.whl")
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    assert "lina/core/errors.py" in names
    assert "lina/core/earlier.py" not in names
    build = [sys.executable, "-c", "from setuptools import build_meta; build_meta.build_sdist('dist')"]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: lina-voice has no sdist; build its wheel")


def test_lina_voice_speaks_without_torch(without_torch: Path, tmp_path: Path) -> None:
    program = without_torch / "bin"
    missing = "import importlib.util as u; print(*map(u.find_spec, ('torch', 'omegaconf', 'yaml', 'hibari')))"
    assert run(program / "python", "-c", missing, cwd=tmp_path).split() == ["None"] * 4
    options = (
        "--temperature",
        ".7",
        "--top-k",
        "20",
        "--top-p",
        "0.9",
        "--seed",
        "3",
        "--max-seconds",
        "9.5",
    )
    run(program / "lina", "say", "Good morning to zzyzx.", "-o", "x.wav", *options, cwd=tmp_path)
    with wave.open(str(tmp_path / "x.wav")) as sound:
        assert 0.5 < sound.getnframes() / sound.getframerate() < 10
    speak = """
import lina
from lina.tokenizers.english.rule import CHARACTERS
print(lina.load().say('Hi.', temperature=0.5).shape[0], lina.__version__, CHARACTERS.is_file())
"""
    channels, version, has_characters = run(program / "python", "-c", speak, cwd=tmp_path).split()
    assert (channels, version) == ("1", run(program / "lina", "--version", cwd=tmp_path).split()[-1])
    assert has_characters == "True"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("say Hi. --best-of 2 -o y.wav", "this call needs PyTorch, which is not installed"),
        ("say Hi. --set synthesize.seed=1 -o y.wav", "this call needs PyTorch, which is not installed"),
        ("plan x.yaml", "this call needs PyTorch, which is not installed"),
        ("plugins", "this call needs PyTorch, which is not installed"),
        ("say Hi. --temperature hot -o y.wav", "command line: temperature: expected a number or a list"),
        ("say Hi. --tempratur 1 -o y.wav", "No such option '--tempratur'. Did you mean '--temperature'?"),
        ("say :D -o y.wav", "text ':D' has nothing that this run's tokenizer reads; write words"),
    ],
)
def test_mistakes_with_lina_voice_are_one_line(
    without_torch: Path, tmp_path: Path, command: str, message: str
) -> None:
    words = [str(without_torch / "bin/lina"), *command.split()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lina: error: {message}")
    assert done.stderr.count("\n") == 1
