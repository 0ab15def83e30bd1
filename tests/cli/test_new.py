import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lina.cli.new import ROLES
from tests.cli.conftest import Lina
from tests.fakes import FakeDistributions

ROOT = Path(__file__).parents[2]
Refused = Callable[..., str]


def test_it_says_what_it_wrote_and_what_comes_next(
    lina: Lina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = lina("new", "backbone", "mine")
    assert done.code == 0
    assert done.out.splitlines() == [
        "lina-mine: pyproject.toml, README.md, lina_mine.py, tests/test_laws.py",
        "next:",
        "  pip install -e 'lina-mine[test]'",
        "  lina check backbone:mine",
        "  python -m pytest lina-mine",
        "in a spec:",
        "  backbone: {plugin: mine}",
    ]
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    files = ("pyproject.toml", "README.md", "lina_mine.py", "tests/test_laws.py")
    assert written == {f"lina-mine/{file}" for file in files}


KINDS = [*((role, ()) for role in ROLES), ("codec", ("--whole",))]


@pytest.mark.parametrize(("role", "options"), KINDS)
def test_a_new_package_installs_and_passes_the_laws(
    lina: Lina, distributions: FakeDistributions, tmp_path: Path, role: str, options: tuple[str, ...]
) -> None:
    name = "my-own_one2"
    assert lina("new", role, name, *options, "--into", str(tmp_path / "new folder")).code == 0
    package = tmp_path / "new folder" / f"lina-{name}"
    distributions.install_project(package)
    done = lina("check", f"{role}:{name}")
    assert done.code == 0, done.out
    assert f"(lina-{name} 0.1.0, lina_my_own_one2:MyOwnOne2{role.capitalize()})" in done.out
    assert " 0 failed" in done.out
    laws = {"encode_is_pure", "encoder_step_equals_parallel"} & set(done.out.replace("-", " ").split())
    assert laws == (
        {"encode_is_pure"} if options else {"encoder_step_equals_parallel"} if role == "codec" else set()
    )


def test_a_codec_alone_can_be_of_whole_utterances(refused: Refused, tmp_path: Path) -> None:
    message = refused("new", "tokenizer", "mine", "--whole", "--into", str(tmp_path))
    assert message == "lina: error: --whole is for codecs, and this is a tokenizer; leave it out\n"
    assert list(tmp_path.iterdir()) == []


def test_a_whole_codec_keeps_loudness_and_time(
    lina: Lina, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lina("new", "codec", "mine", "--whole", "--into", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "lina-mine")
    module = importlib.import_module("lina_mine")
    codec = module.Vocoder(20)
    audio = 0.3 * torch.randn(1, 1, 40 * codec.hop, generator=torch.Generator().manual_seed(1))
    audio[..., : 20 * codec.hop] *= 0.01
    found = codec.decode(codec.encode(audio))
    assert found.shape == audio.shape
    for part in (slice(5, 15), slice(25, 35)):
        frames = slice(part.start * codec.hop, part.stop * codec.hop)
        assert 0.7 < float(found[..., frames].std() / audio[..., frames].std()) < 1.4
    assert float(found[..., : 18 * codec.hop].abs().max()) < 0.05


@pytest.mark.parametrize(("role", "options"), KINDS)
def test_a_new_package_has_our_style(lina: Lina, tmp_path: Path, role: str, options: tuple[str, ...]) -> None:
    lina("new", role, "mine", *options, "--into", str(tmp_path))
    ours = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    known = ["--config", 'lint.isort.known-first-party = ["lina", "lina_mine"]']
    for command in (["check", *ours, *known], ["format", "--check", *ours]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_a_folder_with_blanks_is_quoted(lina: Lina, tmp_path: Path) -> None:
    into = tmp_path / "two words"
    done = lina("new", "codec", "mine", "--into", str(into))
    assert f"  pip install -e '{into}/lina-mine[test]'\n" in done.out
    assert f"  python -m pytest '{into}/lina-mine'\n" in done.out


def test_nothing_is_overwritten(lina: Lina, refused: Refused, tmp_path: Path) -> None:
    lina("new", "codec", "mine", "--into", str(tmp_path))
    module = tmp_path / "lina-mine/lina_mine.py"
    module.write_text("mine")
    for role in ("codec", "backbone"):
        message = refused("new", role, "mine", "--into", str(tmp_path))
        assert message == (
            f"lina: error: {tmp_path}/lina-mine: exists already; choose another name, or another --into\n"
        )
    assert module.read_text() == "mine"


def test_a_place_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refused("new", "codec", "mine", "--into", str(tmp_path / "file"))
    assert f"{tmp_path}/file/lina-mine: cannot be written: " in message
    assert "choose another --into" in message


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (
            "backbnoe",
            "no template for a 'backbnoe'; did you mean 'backbone'? (known: backbone, codec, tokenizer)",
        ),
        ("corpus", "no template for a 'corpus' (known: backbone, codec, tokenizer)"),
    ],
)
def test_an_unknown_role(refused: Refused, tmp_path: Path, role: str, expected: str) -> None:
    assert expected in refused("new", role, "mine", "--into", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Mine", "; did you mean 'mine'?"),
        ("my mixer", "; did you mean 'my-mixer'?"),
        ("2nd", "; did you mean 'nd'?"),
        ("a--b", "; did you mean 'a-b'?"),
        ("mine-", "; did you mean 'mine'?"),
        ("../evil", "; did you mean 'evil'?"),
        ("mine\n", "; did you mean 'mine'?"),
        ("{{ 7 * 7 }}", ""),
        ("", ""),
        ("é", ""),
        ("x" * 51, ""),
    ],
)
def test_bad_names(refused: Refused, tmp_path: Path, name: str, hint: str) -> None:
    message = refused("new", "codec", name, "--into", str(tmp_path))
    assert (
        f"{name!r} is not a valid plugin name: lower-case letters, digits, - and _, a letter first" in message
    )
    assert message.endswith(f"at most 50 characters{hint}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_installed_is_refused(refused: Refused, distributions: FakeDistributions) -> None:
    assert "backbone:gla (lina " in refused("new", "backbone", "gla")
    distributions.install("lina-taken", {"lina.codecs": {"other": "taken_mod:Codec"}})
    message = refused("new", "backbone", "taken")
    assert (
        "codec:other (lina-taken 1.0, taken_mod:Codec) is installed already; choose another name" in message
    )
